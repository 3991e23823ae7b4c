import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tem_data.cards import mask_rows
from tem_data.core.errors import TemDataError
from tem_data.core.files import write_json
from tem_data.core.micrograph import Defect, Micrograph, crop, defect_from_ellipse
from tem_data.core.schema import Classes, write_dataset
from tem_data.figures.style import journal_figure
from tem_data.mask_comparison.classifier import Ranked, rank
from tem_data.mask_comparison.comparison import Pair, compare_masks
from tem_data.mask_comparison.distances import distances, divide
from tem_data.mask_comparison.features import ALL, QUANTITIES, join, measure_masks, sample
from tem_data.mask_comparison.figures import bin_edges, mask_histograms
from tem_data.mask_comparison.text import describe, ratio_table, read_section

CLASSES = ("111", "bdot")
SIDE = 64
SQUARE = np.ones((6, 6), bool)


def patch(*defects, name="p", scene="s", nm_per_px=0.5, side=SIDE):
    return Micrograph(name, None, tuple(defects), (side, side), nm_per_px, scene=scene)


def drawn(seed, patches=48, density=4.0, major=9.0, scenes=12, prefix="s", classes=CLASSES, nm_per_px=0.5):
    """Patches with Poisson-many ellipses at random places, several patches a scene."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(patches):
        found = [
            defect_from_ellipse(
                classes[rng.integers(len(classes))],
                *rng.uniform(0, SIDE, 2),
                (size := major * np.exp(0.2 * rng.standard_normal())),
                size * rng.uniform(0.4, 0.8),
                rng.uniform(0, 180),
                (SIDE, SIDE),
            )
            for _ in range(rng.poisson(density))
        ]
        name = f"{prefix}{number % scenes}"
        made.append(patch(*filter(None, found), name=name, scene=name, nm_per_px=nm_per_px))
    return made


def measured(patches, classes=CLASSES):
    return measure_masks(patches, classes, progress=False)


def compared(a, b, fitted_on=None, repeats=60, classifier_repeats=0):
    return compare_masks(a, b, fitted_on, repeats, classifier_repeats, progress=False)


def row_of(found, category, quantity, distance="wasserstein"):
    (row,) = [r for r in found.rows if (r["category"], r["quantity"], r["distance"]) == (category, quantity, distance)]
    return row


def pair(a, b, period=None):
    first = np.repeat([True, False], [len(a), len(b)])[None]
    found = distances(np.concatenate([a, b]).astype(float), first, ~first, period)
    return found.wasserstein[0], found.ks[0]


# Distances


def test_a_shifted_uniform_is_as_far_as_it_was_shifted():
    values = np.linspace(0, 10, 1001)
    assert pair(values, values + 2) == pytest.approx((2, 0.2), abs=1e-3)


def test_yes_and_no_are_as_far_as_their_shares():
    assert pair([0, 0, 0, 1], [1, 1, 0, 0, 0, 0, 0, 0]) == (0, 0)
    assert pair([0, 0, 0, 1], [1, 1, 1, 0]) == (0.5, 0.5)


@given(*[st.lists(st.integers(-9, 9), min_size=1, max_size=12)] * 2)
@settings(max_examples=60, deadline=None)
def test_distances_are_those_of_the_textbook(a, b):
    ks = max(abs(np.mean(np.array(a) <= x) - np.mean(np.array(b) <= x)) for x in [*a, *b])
    assert pair(a, b) == pytest.approx((stats.wasserstein_distance(a, b), ks))


def test_weights_make_many_pairs_at_once():
    values = np.random.default_rng(0).normal(size=30)
    first = np.random.default_rng(1).random((5, 30)) < 0.5
    found = distances(values, first, ~first)
    for row, w1, ks in zip(first, *found, strict=True):
        assert (w1, ks) == pytest.approx(pair(values[row], values[~row]))


def test_a_pair_with_an_empty_sample_has_no_distance():
    both, neither = np.array([[True, False], [True, True]]), np.array([[False, True], [False, False]])
    for period in (None, 180.0):
        found = distances(np.array([1.0, 2.0]), both, neither, period)
        assert np.isnan(found).tolist() == [[False, True], [False, True]]


def test_angles_go_the_shorter_way_round():
    assert pair([1.0], [179.0], 180.0)[0] == pytest.approx(2)
    assert pair([0.0], [90.0], 180.0)[0] == pytest.approx(90)
    uniform = np.arange(0, 180, 1.0)
    assert pair(uniform, (uniform + 37) % 180, 180.0) == pytest.approx((0, 0), abs=1e-9)


@given(*[st.lists(st.integers(0, 179), min_size=1, max_size=9)] * 2, st.integers(1, 179))
@settings(max_examples=60, deadline=None)
def test_turning_both_sets_changes_no_axial_distance(a, b, turn):
    turned = pair((np.array(a) + turn) % 180, (np.array(b) + turn) % 180, 180.0)
    assert turned == pytest.approx(pair(a, b, 180.0), abs=1e-9)


# Divisions


def test_a_division_never_cuts_a_scene():
    scene = np.repeat(list("abcde"), [1, 2, 3, 10, 4])
    found = divide(scene, 0.5, 200, np.random.default_rng(0))
    for name in "abcde":
        of_scene = found[:, scene == name]
        assert (of_scene == of_scene[:, :1]).all() and 0 < of_scene[:, 0].sum() < 200
    assert (found.any(1) & ~found.all(1)).all()
    assert divide(scene, 0.2, 200, np.random.default_rng(0)).mean() < found.mean()
    assert divide(np.repeat("a", 9), 0.5, 3, np.random.default_rng(0)).shape == (0, 9)


def test_parts_are_as_large_as_asked():
    scene = np.arange(100).astype(str)
    assert (divide(scene, 0.3, 20, np.random.default_rng(0)).sum(1) == 30).all()


# What is measured


def test_the_quantities_of_one_patch():
    overlapping = Defect("111", 10, 10, np.ones((4, 8), bool)), Defect("bdot", 16, 12, SQUARE)
    cut = Defect("bdot", 0, 40, SQUARE)
    ignored = replace(cut, x=50, ignore=True), replace(cut, category="ambiguous", x=30)
    found = measured([patch(*overlapping, cut, *ignored), patch(scene="t")])

    def of(category, quantity, unit="px"):
        return sample(found, category, quantity, unit).values.tolist()

    assert of("111", "count") == [1, 0] and of("bdot", "count") == [2, 0] and of(ALL, "count") == [3, 0]
    assert of("bdot", "class_share") == pytest.approx([2 / 3])
    assert of("111", "area") == [32] and of("111", "area", "nm") == [8]
    assert of("bdot", "area") == [36]  # the other is cut
    assert of("111", "overlap_share") == [1] and of("bdot", "overlap_share") == [1, 0]
    assert of("111", "area_fraction") == pytest.approx([32 / SIDE**2, 0])
    assert of(ALL, "area_fraction") == pytest.approx([(32 + 72 - 4) / SIDE**2, 0])
    near = np.hypot(5, 3)
    assert of("111", "nearest_neighbour") == pytest.approx([near])
    assert of(ALL, "nearest_neighbour", "nm") == pytest.approx(np.array([near, near, np.hypot(16, 28)]) / 2)
    assert of("111", "aspect") == pytest.approx([0.5]) and of("111", "angle") == [0]
    assert of("bdot", "angle") == []  # a square has none


def test_patches_of_two_sizes_or_none_at_all_are_refused():
    with pytest.raises(TemDataError, match="32×32 and of 64×64 px; expected one size"):
        measured([patch(), patch(side=32)])
    with pytest.raises(TemDataError, match="no patches"):
        measured([])


def test_a_joined_set_holds_both():
    a, b = measured(drawn(0, 9)), measured(drawn(1, 5))
    both = join(a, b)
    for quantity in QUANTITIES:
        parts = [sample(part, "111", quantity, "nm") for part in (a, b)]
        whole = sample(both, "111", quantity, "nm")
        assert whole.values.tolist() == [*parts[0].values, *parts[1].values]
        assert whole.patch.tolist() == [*parts[0].patch, *(parts[1].patch + 9)]


# Comparisons


def test_identical_sets_cannot_be_told_apart():
    a = measured(drawn(0))
    found = compared(a, measured(drawn(0)), classifier_repeats=2)
    assert all(row["value"] == 0 and row["inside"] for row in found.rows)
    assert found.summary["share_inside"] == 1 and found.summary["outside"] == []
    assert found.summary["classifier"]["auc"] == pytest.approx(0.5) and found.summary["classifier"]["inside"]


def test_new_masks_of_the_same_kind_are_inside():
    found = compared(measured(drawn(0)), measured(drawn(1, 300, scenes=300, prefix="sim")), classifier_repeats=8)
    assert found.summary["share_inside"] > 0.9
    assert found.summary["classifier"]["inside"]
    assert found.summary["distances"] == len(found.rows) == 2 * (2 * 10 + 4)


@pytest.mark.parametrize(
    "changed, told, kept",
    [({"major": 18.0}, ("111", "major"), (ALL, "count")), ({"density": 8.0}, (ALL, "count"), ("111", "aspect"))],
)
def test_a_doubled_size_or_density_is_caught(changed, told, kept):
    found = compared(measured(drawn(0)), measured(drawn(1, scenes=48, prefix="sim", **changed)), classifier_repeats=6)
    assert not row_of(found, *told)["inside"] and row_of(found, *kept)["inside"]
    assert row_of(found, *told)["value"] > row_of(found, *told)["real_p95"] > row_of(found, *told)["real_median"]
    classifier = found.summary["classifier"]
    assert classifier["auc"] > 0.7 and not classifier["inside"] and classifier["interval"][0] > 0.6


def test_the_reference_is_of_parts_as_large_as_both_sets():
    a, b, rest = measured(drawn(0)), measured(drawn(1, prefix="b")), measured(drawn(2, 144, prefix="r", scenes=36))
    found = compared(a, b, rest)
    row, alone = row_of(found, "111", "major"), row_of(compared(a, b), "111", "major")
    ours, theirs = (sample(s, "111", "major", "nm").values for s in (a, rest))
    assert row["real_split"] == pytest.approx(stats.wasserstein_distance(ours, theirs))
    assert alone["real_split"] is None and row["real_p95"] < alone["real_p95"]
    assert found.summary["classifier"]["patches"] == {"a": 48, "b": 48}
    assert 0 < found.summary["classifier"]["real_split"] < 1


def test_scenes_that_differ_widen_the_reference():
    """Were single patches dealt to the halves, each would hold both kinds of scene, and halves hardly differ."""
    sizes = [drawn(k, 8, major=8.0 + 8 * (k % 2), scenes=1, prefix=f"s{k}-") for k in range(10)]
    by_scene = measured([p for scene in sizes for p in scene])
    mixed = replace(by_scene, scene=np.arange(len(by_scene)).astype(str))
    wide, narrow = (row_of(compared(s, s), "111", "major") for s in (by_scene, mixed))
    assert wide["real_p95"] > 2 * narrow["real_p95"]


def test_lengths_are_in_px_where_one_set_is_uncalibrated():
    a, b = measured(drawn(0)), measured(drawn(0, nm_per_px=None))
    found = compared(a, b)
    assert found.summary["unit"] == "px" and row_of(found, "111", "area")["unit"] == "px²"
    assert row_of(found, "111", "major")["value"] == 0
    scaled = compared(a, measured(drawn(0, nm_per_px=1.0)))
    expected = sample(a, "111", "major", "nm").values.mean()
    assert row_of(scaled, "111", "major")["value"] == pytest.approx(expected)


def test_a_class_that_one_set_lacks_is_outside():
    found = compared(measured(drawn(0)), measured(drawn(1, classes=("111",), prefix="b")))
    row = row_of(found, "bdot", "major")
    assert row["value"] is None and row["inside"] is False and row["n_b"] == 0
    assert not row_of(found, "bdot", "count")["inside"] and row_of(found, "111", "major")["inside"]
    json.dumps(found.summary, allow_nan=False)


def test_a_class_that_neither_has_and_sets_of_one_class():
    one = measured(drawn(0, classes=("111",)), ("111", "void"))
    found = compared(one, one)
    assert {q for c, q in found.values if c == "void"} == {"count", "class_share", "area_fraction"}
    alone = measured(drawn(0, classes=("void",)), ("void",))
    assert compared(alone, alone).summary["share_inside"] == 1


def test_tiles_without_defects():
    empty = measured([patch(scene=f"s{k}") for k in range(12)])
    found = compared(empty, empty)
    assert found.summary["share_inside"] == 1 and found.summary["classifier"]["auc"] == 0.5
    filled = compared(empty, measured(drawn(0, 12, prefix="b")))
    assert not row_of(filled, ALL, "count")["inside"]
    assert row_of(filled, "111", "major")["inside"] is None  # nothing experimental to compare with


def test_one_scene_has_no_reference():
    a = measured(drawn(0, scenes=1))
    found = compared(a, measured(drawn(1, prefix="b")))
    assert found.summary["distances"] == 0 and found.summary["share_inside"] is None
    assert found.summary["classifier"]["auc"] is None
    assert "fewer than two scenes" in describe(found.summary)
    assert {cell for row in ratio_table(found.summary) for cell in row.values()} >= {"–, –", "major axis"}


def test_sets_that_cannot_be_compared_are_refused():
    a = measured(drawn(0, 4))
    with pytest.raises(TemDataError, match="of classes"):
        compared(a, measured(drawn(0, 4), ("111",)))
    with pytest.raises(TemDataError, match="64×64 px and of 32×32 px"):
        compared(a, measured([crop(p, 0, 0, (32, 32)) for p in drawn(0, 4)]))
    with pytest.raises(TemDataError, match="4 scenes are both in .* as 's0'"):
        compared(a, measured(drawn(1, prefix="sim")), measured(drawn(2)))


def test_the_same_seed_gives_the_same_numbers():
    a, b = measured(drawn(0)), measured(drawn(1, prefix="b"))
    first, again = (compared(a, b, classifier_repeats=1).summary for _ in range(2))
    assert first == again
    other = compare_masks(a, b, repeats=60, classifier_repeats=0, seed=1, progress=False).summary
    assert [r["value"] for r in other["rows"]] == [r["value"] for r in first["rows"]]
    assert [r["real_p95"] for r in other["rows"]] != [r["real_p95"] for r in first["rows"]]


# The classifier


def test_the_classifier_learns_nothing_from_a_scene_it_is_tested_on():
    """Each scene has a feature of its own: within scenes all is known, across them nothing."""
    scene = np.repeat(np.arange(12), 20)
    rng = np.random.default_rng(0)
    value = rng.normal(size=12)[scene][:, None] + 1e-3 * rng.normal(size=(240, 1))
    first = scene % 2 == 0
    cheating = np.arange(240)
    honest = rank(value[first], value[~first], scene[first], scene[~first])
    leaky = rank(value[first], value[~first], cheating[first], cheating[~first])
    assert leaky.auc > 0.95 and honest.auc < 0.75


def test_the_interval_is_over_scenes():
    wins, pairs = np.array([[4.0, 0.0], [4.0, 0.0]]), np.full((2, 2), 4.0)
    found = Ranked(wins, pairs)
    assert found.auc == 0.5
    assert found.interval(np.random.default_rng(0), 200) == (0, 1)  # as one of the two scenes alone would give
    sure = Ranked(pairs, pairs)
    assert sure.interval(np.random.default_rng(0), 50) == (1, 1)


# Figures, text, command


def test_bins_hold_every_value():
    for quantity, values in (("count", [0.0, 3, 70]), ("angle", [0.0, 179.9]), ("area", [4.0, 4.0]), ("aspect", [0.5])):
        edges = bin_edges(Pair(np.array(values), np.array([]), ""), quantity)
        assert (np.diff(edges) > 0).all() and len(edges) <= 26
        assert edges[0] <= min(values)


@pytest.fixture
def coarse(monkeypatch):
    """Figures of fewer dots, which are as right and drawn sooner."""
    monkeypatch.setattr(journal_figure.__wrapped__, "__defaults__", ("", 40))


@pytest.mark.slow
def test_the_figure_has_a_panel_for_each_class_and_quantity(tmp_path, coarse):
    found = compared(measured(drawn(0, 12)), measured(drawn(1, 12, density=9.0, prefix="b")))
    figure = mask_histograms(tmp_path / "h", found)
    assert (tmp_path / "h.png").exists() and (tmp_path / "h.svg").exists()
    shown = [axes for axes in figure.axes if axes.axison]
    assert len(figure.axes) == 30 and len(shown) == len(found.values) == 24
    ratio = row_of(found, "111", "count")
    (text,) = [t for t in figure.axes[15].texts if "111" not in t.get_text()]
    assert text.get_text() == f"{ratio['value'] / ratio['real_p95']:.2f}" and text.get_weight() == "bold"


def test_report_and_card_say_what_is_outside(tmp_path):
    found = compared(measured(drawn(0)), measured(drawn(1, density=8.0, scenes=48, prefix="sim")), classifier_repeats=4)
    (row,) = [r for r in ratio_table(found.summary) if r["quantity"] == "count a patch"]
    assert row[ALL].endswith("!") and float(row[ALL].split(", ")[0].rstrip("!")) > 1
    assert read_section(tmp_path, tmp_path) is None
    write_json(tmp_path / "masks.json", found.summary)
    section = read_section(tmp_path, tmp_path)
    inside, total = found.summary["inside"], found.summary["distances"]
    assert section.text == describe(found.summary) and section.text.startswith(f"{inside} of {total} distances")
    assert "experimental masks (12 scenes)" in section.text
    (line,) = mask_rows([{"split": 1, "size": 4, "masks": {2: found.summary}}])
    assert (line["run"], line["inside"], line["of"]) == (2, inside, total) and inside < total
    assert "count" in line["outside"] and line["AUC"] > line["real, 97.5 %"]
    assert mask_rows([{"split": 1, "size": 4}]) == []


def test_the_command_writes_what_it_found(tmp_path, capsys, monkeypatch):
    from tem_data.cli.app import app

    classes = Classes(CLASSES, ("ambiguous",))
    whole = [replace(p, shape=(SIDE, SIDE), scene=f"s{k}") for k, p in enumerate(drawn(0, 8))]
    write_dataset(tmp_path / "a", {"train": whole[:3], "validation": whole[3:4], "test": whole[4:]}, classes)
    write_dataset(tmp_path / "b", {"train": drawn(1, 12, prefix="b")}, Classes(CLASSES[::-1]))
    words = [
        str(tmp_path / "a:test"),
        str(tmp_path / "b"),
        "--fitted-on",
        str(tmp_path / "a:train+validation"),
        "--size",
        "32",
    ]
    monkeypatch.setattr(
        "tem_data.mask_comparison.figures.mask_histograms", lambda stem, *_: stem.with_suffix(".svg").touch()
    )
    out = tmp_path / "out"
    more = ["--out", str(out), "--repeats", "20", "--classifier-repeats", "2"]
    app(["compare-masks", *words, *more], standalone_mode=False)
    summary = json.loads((out / "masks.json").read_text())
    assert summary["patches"] == {"a": 16, "b": 48, "fitted_on": 16} and summary["patch_px"] == [32, 32]
    assert describe(summary) in capsys.readouterr().out.replace("\n", " ")
    assert len((out / "masks.csv").read_text().splitlines()) == len(summary["rows"]) + 1
    assert (out / "histograms.svg").exists()
    with pytest.raises(TemDataError, match="no rows of split 'gone'"):
        app(["compare-masks", str(tmp_path / "a:gone"), words[1], "-o", str(tmp_path / "x")], standalone_mode=False)
    write_dataset(tmp_path / "c", {"train": drawn(1, 2)}, Classes((*CLASSES, "void")))
    with pytest.raises(TemDataError, match="c: classes .*expected"):
        app(["compare-masks", words[0], str(tmp_path / "c"), "-o", str(tmp_path / "x")], standalone_mode=False)
