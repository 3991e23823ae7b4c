import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from tem_data import figures
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph, class_mask, defect_from_ellipse
from tem_data.figures.style import DOUBLE_MM, DPI, SINGLE_MM, arm_styles, journal_figure
from tem_data.materials import figures as materials_figures
from tem_data.patches.cutting import tiles
from tem_data.scoring import figures as scoring_figures
from tem_data.study import figures as study_figures

ARMS = ("EXP", "EXP+GEN", "EXP+CP")
CLASSES = ("100", "111", "bdot")


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Pictures of few pixels are drawn faster; what is drawn is the same."""
    monkeypatch.setattr(figures.style.journal_figure.__wrapped__, "__defaults__", ("", 50))


def check_files(stem, width_mm):
    """Both files are there, nothing else is, they can be read, and the SVG is as wide as was asked."""
    assert sorted(p.name for p in stem.parent.iterdir()) == [f"{stem.name}.png", f"{stem.name}.svg"]
    with Image.open(f"{stem}.png") as picture:
        picture.verify()
    root = ElementTree.parse(f"{stem}.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.get("width").removesuffix("pt")) == pytest.approx(width_mm / 25.4 * 72)


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line(axes, x):
    """The y values of the first line on axes that has these x values."""
    return next(drawn.get_ydata() for drawn in axes.lines if np.array_equal(drawn.get_xdata(), x))


def swept(arm, at):
    return [{"arm": arm, "role": "test", "threshold": t, "f1_detect": 0.5, "f1_class": 0.6, "f1_hm": 0.7} for t in at]


def test_a_figure_is_written_twice_the_same_or_not_at_all(tmp_path):
    rows = swept("EXP", (0.2, 0.4))
    for name in "ab":
        scoring_figures.threshold_sweep(tmp_path / name, rows, {"EXP": 0.4})
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with pytest.raises(KeyError):
        scoring_figures.threshold_sweep(tmp_path / "c", rows, {})
    assert not list(tmp_path.glob("*c*"))


def test_journal_pictures_have_300_dpi(tmp_path):
    with journal_figure(tmp_path / "empty", SINGLE_MM, 40, dpi=DPI):
        pass
    with Image.open(tmp_path / "empty.png") as picture:
        assert picture.size == (int(88 / 25.4 * 300), int(40 / 25.4 * 300))


def test_arms_are_told_apart_without_colour():
    styles = arm_styles([*ARMS, "EXP"])
    assert list(styles) == list(ARMS)
    for what in ("colour", "marker", "line", "hatch"):
        assert len({getattr(style, what) for style in styles.values()}) == len(ARMS)


def test_threshold_sweep_draws_test_rows_and_the_choice(tmp_path):
    rows = [
        {"arm": arm, "role": role, "threshold": t, "f1_detect": t, "f1_class": t / 2, "f1_hm": value}
        for arm, value in (("EXP", 0.3), ("EXP+GEN", None))
        for role in ("validation", "test")
        for t in (0.6, 0.2)
    ]
    figure = scoring_figures.threshold_sweep(tmp_path / "sweep", rows, {"EXP": 0.2, "EXP+GEN": 0.6}, "Split 1")
    check_files(tmp_path / "sweep", DOUBLE_MM)
    detect, by_class, hm = figure.axes
    assert list(line(detect, [0.2, 0.6])) == [0.2, 0.6]
    assert list(line(by_class, [0.2, 0.6])) == [0.1, 0.3]
    assert np.isnan(hm.lines[1].get_ydata()).all()
    assert [drawn.get_xdata()[0] for drawn in hm.lines[2:]] == [0.2, 0.6]
    assert legend_texts(figure) == ["EXP", "EXP+GEN", "chosen on validation"]


def test_iou_sweep(tmp_path):
    rows = [
        {"arm": a, "iou": i, "f1_detect": 1 - i, "f1_class": 0.5, "f1_hm": 0.5} for a in ARMS for i in (0.3, 0.5, 0.9)
    ]
    figure = scoring_figures.iou_sweep(tmp_path / "iou", rows)
    check_files(tmp_path / "iou", DOUBLE_MM)
    assert list(line(figure.axes[0], [0.3, 0.5, 0.9])) == pytest.approx([0.7, 0.5, 0.1])
    assert legend_texts(figure) == list(ARMS)


def test_a_legend_takes_no_more_columns_than_the_figure_is_wide(tmp_path):
    arms = ("EXP", "EXP+GEN", "EXP+PAINT", "EXP+CP")
    figure = scoring_figures.class_bars(tmp_path / "bars", {arm: {"bdot": 0.5} for arm in arms}, CLASSES)
    (legend,) = figure.legends
    assert legend_texts(figure) == list(arms)
    assert legend.get_window_extent().x0 >= 0 and legend.get_window_extent().x1 <= figure.bbox.width
    assert legend.get_window_extent().y1 <= figure.axes[0].get_tightbbox().y0


def test_class_bars_leave_out_absent_classes(tmp_path):
    f1 = {"EXP": {"100": 0.4, "111": 0.8}, "EXP+GEN": {"100": 0.5, "111": 0.7, "bdot": 0.9}}
    figure = scoring_figures.class_bars(tmp_path / "bars", f1, CLASSES, {"EXP": {"111": (0.7, 0.85)}})
    check_files(tmp_path / "bars", DOUBLE_MM)
    (axes,) = figure.axes
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert heights[1] == [0.5, 0.7, 0.9]
    assert heights[0][:2] == [0.4, 0.8] and np.isnan(heights[0][2])
    drawn = [s for lines in axes.collections for s in lines.get_segments() if np.size(s)]
    assert [s[:, 1].tolist() for s in drawn] == [[0.7, 0.85]]
    assert [text.get_text() for text in axes.get_xticklabels()] == list(CLASSES)


def test_confusion_matrix_shows_numbers_and_shares(tmp_path):
    confusion = {"EXP": np.array([[6, 1], [0, 0]])}
    figure = scoring_figures.confusion_matrices(
        tmp_path / "c", confusion, {"EXP": [3, 0]}, {"EXP": [5, 2]}, ("100", "111")
    )
    check_files(tmp_path / "c", SINGLE_MM)
    (axes,) = figure.axes
    cells = {tuple(int(i) for i in text.get_position()): text.get_text() for text in axes.texts}  # column, row
    assert cells[0, 0] == "6\n60%" and cells[2, 0] == "3\n30%"
    assert (cells[0, 2], cells[1, 2]) == ("5", "2")
    assert cells[0, 1] == "0" and (2, 2) not in cells
    assert [text.get_text() for text in axes.get_yticklabels()] == ["100", "111", "false"]


@pytest.mark.parametrize("count", [1, 10])
def test_any_number_of_classes(tmp_path, count):
    classes = [f"class {i}" for i in range(count)]
    matrix = np.eye(count, dtype=int)
    figure = scoring_figures.confusion_matrices(
        tmp_path / "c",
        dict.fromkeys(ARMS, matrix),
        dict.fromkeys(ARMS, matrix[0]),
        dict.fromkeys(ARMS, matrix[0]),
        classes,
    )
    assert [axes.get_title() for axes in figure.axes[:3]] == list(ARMS)
    assert max(figure.get_size_inches()) * 25.4 < 240  # the height of a page
    assert len({materials_figures._class_look(name, classes) for name in classes}) == count


def test_histograms_count_every_measured_defect(tmp_path):
    rng = np.random.default_rng(1)
    rows = [
        {"source": source, "category": name, "size_nm": float(rng.gamma(4, 5)), "circularity": 1.0}
        for source, count in (("truth", 40), ("EXP", 30))
        for name in ("100", "111")
        for _ in range(count)
    ]
    rows += [{"source": "EXP", "category": "100", "size_nm": value, "circularity": 1.1} for value in (None, np.nan)]
    figure = materials_figures.histograms(tmp_path / "sizes", rows, "size_nm", CLASSES)
    check_files(tmp_path / "sizes", DOUBLE_MM)
    first, _, empty = figure.axes
    assert [steps.get_data().values.sum() for steps in first.patches] == [40, 30]
    assert first.get_xlabel() == "size (nm)"
    assert empty.texts[0].get_text() == "nothing measured"
    assert legend_texts(figure) == ["truth", "EXP"]


def test_parity_draws_what_is_known(tmp_path):
    def row(arm, category, quantity, true, predicted, unit):
        return locals()

    rows = [
        row("EXP", "100", "mean size", 20.0, 25.0, "nm"),
        row("EXP", "all", "mean size", 30.0, 25.0, "nm"),
        row("EXP", "100", "mean size", None, 25.0, "nm"),
        row("EXP+GEN", "100", "mean size", 22.0, 20.0, "nm"),
        row("EXP", "100", "hardening", None, None, "MPa"),
    ]
    figure = materials_figures.parity(tmp_path / "parity", rows, CLASSES)
    check_files(tmp_path / "parity", 120)
    assert len(figure.axes) == 2  # no panels for the hardening that nobody knows
    axes = figure.axes[0]
    assert list(line(axes, [20.0])) == [25.0] and list(line(axes, [30.0])) == [25.0]
    assert axes.get_xlim() == axes.get_ylim() == figure.axes[1].get_xlim()
    assert axes.get_ylabel() == "predicted mean size (nm)"
    assert legend_texts(figure) == ["100", "all"]
    many = [row(arm, "100", "areal density", 2.0, 3.0, "10⁻⁴ nm⁻²") for arm in "abcd"]
    label = materials_figures.parity(tmp_path / "many", many, CLASSES).axes[0].xaxis.label
    assert label.get_text().split("\n") == ["true areal density", "(10⁻⁴\N{NO-BREAK SPACE}nm⁻²)"]
    assert (
        materials_figures.parity(tmp_path / "none", rows[-1:], CLASSES).axes[0].texts[0].get_text()
        == "nothing measured"
    )


STUDY = [
    {"split": split, "size": size, "run": run, "arm": arm, "f1_hm": value + run / 100, "training_defects": size * 50}
    for split in (1, 2)
    for size in (50, 10)
    for run in (1, 2, 3)
    for arm, value in (("EXP", 0.6), ("EXP+GEN", 0.7))
]


def test_score_by_size_draws_runs_mean_and_deviation(tmp_path):
    figure = study_figures.score_by_size(tmp_path / "size", STUDY)
    check_files(tmp_path / "size", DOUBLE_MM)
    axes = figure.axes[0]
    assert [a.get_title(loc="left") for a in figure.axes] == ["split 1", "split 2"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["10", "50"]
    runs = [drawn.get_ydata().tolist() for drawn in axes.lines if len(drawn.get_xdata()) == 3]
    assert sorted(runs)[0] == pytest.approx([0.61, 0.62, 0.63]) and len(runs) == 4
    bars = [bar for container in axes.containers for bar in container[2][0].get_segments()]
    assert bars[0][:, 1] == pytest.approx([0.62 - 0.01, 0.62 + 0.01])


def test_a_single_run_has_no_mean_and_a_small_difference_looks_small(tmp_path):
    rows = [
        {"split": 1, "size": 10, "run": 1, "arm": arm, "f1_hm": f1} for arm, f1 in (("EXP", 0.6), ("EXP+CP", 0.6001))
    ]
    figure = study_figures.score_by_size(tmp_path / "size", rows)
    check_files(tmp_path / "size", SINGLE_MM)
    assert not figure.axes[0].containers
    assert np.ptp(figure.axes[0].get_ylim()) >= 0.1
    assert legend_texts(figure) == ["EXP", "EXP+CP", "run"]


def test_gain_by_size_leaves_the_baseline_its_style(tmp_path):
    rows = [row | {"gain": 0.1} for row in STUDY if row["arm"] == "EXP+GEN"]
    intervals = [{"split": 1, "size": 10, "arm": "EXP+GEN", "low": 0.05, "high": 0.12}]
    figure = study_figures.gain_by_size(tmp_path / "gain", rows, "EXP", intervals)
    check_files(tmp_path / "gain", DOUBLE_MM)
    bands = [s[:, 1].tolist() for c in figure.axes[0].collections if c.get_alpha() for s in c.get_segments()]
    assert bands == [[0.05, 0.12]]
    gains = [drawn for drawn in figure.axes[0].lines if len(drawn.get_xdata()) == 3]
    assert {drawn.get_color() for drawn in gains} == {arm_styles(ARMS)["EXP+GEN"].colour}
    assert "EXP" not in legend_texts(figure)


def test_learning_curve_joins_means_on_a_logarithmic_axis(tmp_path):
    figure = study_figures.learning_curve(tmp_path / "learning", STUDY)
    check_files(tmp_path / "learning", SINGLE_MM)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert line(axes, [500, 2500]) == pytest.approx([0.62, 0.62])
    assert legend_texts(figure) == ["EXP", "EXP+GEN", "split 1", "split 2"]


def micrograph(shape=(60, 90), **fields):
    image = np.random.default_rng(3).integers(0, 255, shape).astype(np.uint8)
    loop = defect_from_ellipse("100", 40, 25, 30, 14, 20, shape)
    dot = defect_from_ellipse("bdot", 75, 45, 6, 6, 0, shape)
    return Micrograph("m", image, (loop, dot), shape, **fields)


def test_mosaic_puts_tiles_back_together():
    whole = micrograph(nm_per_px=0.5)
    cut = list(tiles([whole], 30))
    image, found = figures.mosaic(cut[::-1], [tile.defects for tile in cut[::-1]])
    assert np.array_equal(image.image, whole.image)
    assert (image.shape, image.x, image.y, image.nm_per_px) == (whole.shape, 0, 0, 0.5)
    for defects in (image.defects, found):
        drawn = np.zeros(whole.shape, int)
        for defect in defects:
            x, y, w, h = defect.bbox
            drawn[y : y + h, x : x + w] += defect.mask
        expected = class_mask(whole.defects, CLASSES, whole.shape) > 0
        assert np.array_equal(drawn, expected)


def test_mosaic_refuses_tiles_that_do_not_belong_together():
    turned = micrograph(symmetry=3)
    for wrong in ([turned], [micrograph(), Micrograph("other", turned.image, (), (60, 90))]):
        with pytest.raises(TemDataError, match="one micrograph"):
            figures.mosaic(wrong, [()] * len(wrong))
    with pytest.raises(TemDataError, match="without an image"):
        figures.mosaic([Micrograph("m", None, (), (60, 90))], [()])


def test_best_median_worst():
    assert figures.best_median_worst({"a": 0.2, "b": 0.9, "c": 0.5, "d": 0.4}) == {
        "best": "b",
        "median": "d",
        "worst": "a",
    }
    assert figures.best_median_worst({"a": 0.5, "b": 0.5}) == {"best": "a", "worst": "b"}
    assert figures.best_median_worst({"a": 0.5}) == {"best": "a"}


@pytest.mark.parametrize("nm_per_px, texts", [(0.5, ["10 nm"]), (None, [])])
def test_ranked_overlays_outline_truth_and_predictions(tmp_path, nm_per_px, texts):
    true = micrograph(nm_per_px=nm_per_px)
    entry = figures.Ranked("best", true, {"EXP": true.defects[:1], "EXP+GEN": ()}, {"EXP": 0.66, "EXP+GEN": 0.0})
    figure = figures.ranked_overlays(tmp_path / "ranked", [entry], CLASSES)
    check_files(tmp_path / "ranked", DOUBLE_MM)
    bare, truth, exp, exp_gen = figure.axes
    assert [text.get_text() for text in bare.texts] == texts
    assert np.array_equal(bare.images[0].get_array(), true.image)
    assert [len(axes.lines) for axes in (truth, exp, exp_gen)] == [2, 1, 0]
    assert truth.lines[1].get_color() == figures.colour_of("bdot", CLASSES)
    assert "0.66" in exp.get_title(loc="left")


def test_scale_bar_is_as_long_as_it_says(tmp_path):
    axes = figures.ranked_overlays(
        tmp_path / "r", [figures.Ranked("best", micrograph(nm_per_px=0.4), {}, {})], CLASSES
    ).axes[0]
    assert axes.texts[0].get_text() == "10 nm"
    assert np.ptp(axes.lines[0].get_xdata()) == pytest.approx(10 / 0.4)


def test_overlay_is_pixel_for_pixel_above_its_legend(tmp_path):
    image = micrograph().image
    figures.overlay(tmp_path / "o.png", image, (Defect("100", 10, 10, np.ones((20, 20), bool)),), CLASSES)
    drawn = np.asarray(Image.open(tmp_path / "o.png").convert("RGB"), int)
    assert drawn.shape[1] == 90 and drawn.shape[0] > 60
    assert np.array_equal(drawn[40:60, 40:], np.repeat(image[40:, 40:, None], 3, axis=2))
    assert np.ptp(drawn[20, 9:11], axis=-1).max() > 50  # the coloured edge
    colours = {tuple(colour) for colour in drawn[60:].reshape(-1, 3)}
    assert {(230, 159, 0), (86, 180, 233), (0, 158, 115)} <= colours  # of each class


def bar_px(path, height):
    """The length of the scale bar in an overlay of an image of this height, of whose strip nothing else is so long."""
    white = (np.asarray(Image.open(path).convert("L"))[height:] == 255).astype(int)
    steps = [np.flatnonzero(np.diff(np.pad(row, 1))) for row in white]
    return max(ends[i + 1] - ends[i] for ends in steps for i in range(0, len(ends), 2))


@pytest.mark.parametrize("width, nm_per_px, bar_nm", [(1024, 0.4, 100), (200, 0.25, 10), (700, 30, 5000)])
def test_the_bar_of_an_overlay_is_as_long_as_it_says(tmp_path, width, nm_per_px, bar_nm):
    figures.overlay(tmp_path / "o.png", np.zeros((50, width), np.uint8), (), CLASSES, nm_per_px)
    assert bar_px(tmp_path / "o.png", 50) == pytest.approx(bar_nm / nm_per_px, abs=1)


def test_confidences_stand_beside_defects_where_there_is_room(tmp_path):
    image = np.full((200, 300), 90, np.uint8)
    alone, edge = (Defect("100", x, 100, np.ones((10, 10), bool), score=0.87) for x in (150, 290))
    crowd = tuple(Defect("111", 20 + 12 * i, 20 + 12 * j, np.ones((11, 11), bool)) for i in range(5) for j in range(5))

    def white(defects):
        figures.overlay(tmp_path / "o.png", image, defects, CLASSES, confidence=True)
        return (np.asarray(Image.open(tmp_path / "o.png"))[:200] == 255).all(-1)

    one = white((alone,))
    assert one[95:125, 160:190].any() and not one[:, :140].any() and not one[:95].any()
    assert white((edge,))[:, :290].any()  # on its left, as there is no room on its right
    assert not white(crowd)[31:68, 31:68].any()  # none on the defects within


def test_an_overlay_of_defects_of_no_class_and_many_long_names(tmp_path):
    names = [f"a class of the long name {i}" for i in range(9)]
    defects = (Defect("ambiguous", 3, 3, np.ones((5, 5), bool)), Defect(names[8], 20, 3, np.ones((5, 1), bool)))
    figures.overlay(tmp_path / "o.png", np.zeros((64, 64), np.uint8), defects, names, 0.5, confidence=True)
    assert Image.open(tmp_path / "o.png").height > 64 + 9 * 20
