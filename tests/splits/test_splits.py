import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_table
from tem_data.core.micrograph import Micrograph
from tem_data.splits.schemes import (
    SplitSettings,
    describe_splits,
    groups_of,
    k_fold_splits,
    leave_one_group_out_splits,
    leave_out_percent_splits,
    make_splits,
    random_splits,
)
from tem_data.splits.table import check_splits, cut_scenes, given_splits, members, random_image_split

SCENE = {f"m{i}": f"s{i // 2}" for i in range(20)}


def table(*rows, columns=("micrograph_id", "split1_role", "split1_rank")):
    return [dict(zip(columns, row, strict=True)) for row in rows]


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=12), st.integers(0, 6), st.integers(0, 4), st.integers(0, 99))
def test_a_scene_is_never_cut(sizes, test, validation, seed):
    scene = {f"s{i}-{j}": f"s{i}" for i, size in enumerate(sizes) for j in range(size)}
    try:
        rows = random_splits(scene, 3, test, validation, seed)
    except TemDataError:
        assume(False)
    assert [row["micrograph_id"] for row in rows] == sorted(scene)
    for k in (1, 2, 3):
        assert cut_scenes(rows, k) == []
        assert {row["scene"]: row[f"split{k}_role"] for row in rows} == {
            scene[row["micrograph_id"]]: row[f"split{k}_role"] for row in rows
        }
        held = Counter(row[f"split{k}_role"] for row in rows)
        assert held["test"] == test and held["validation"] == validation and held["train"] > 0
        for role, count in held.items():
            ranks = sorted(int(row[f"split{k}_rank"]) for row in rows if row[f"split{k}_role"] == role)
            assert ranks == list(range(1, count + 1))


def test_splits_follow_their_seed_and_differ():
    one = random_splits(SCENE, 2, 6, 4, 0)
    assert one == random_splits(dict(reversed(SCENE.items())), 2, 6, 4, 0)
    assert one != random_splits(SCENE, 2, 6, 4, 1)
    assert [r["split1_role"] for r in one] != [r["split2_role"] for r in one]
    assert one[0].keys() == random_splits(SCENE, 3, 6, 4, 0)[0].keys() - {"split3_role", "split3_rank"}


@pytest.mark.parametrize(
    "test, validation, said", [(5, 4, "split.test: 5"), (6, 3, "split.validation: 3"), (16, 4, "all 20")]
)
def test_scenes_that_do_not_allow_a_split(test, validation, said):
    with pytest.raises(TemDataError, match=said):
        random_splits(SCENE, 1, test, validation, 0)


def test_training_sizes_nest_and_the_test_set_stays():
    rows = random_splits({f"m{i}": f"s{i}" for i in range(40)}, 1, 8, 6, 0)
    taken = [members(rows, 1, size) for size in range(2, 30)]
    for size, roles in enumerate(taken, 2):
        assert len(roles["train"]) + len(roles["validation"]) == size
        assert len(roles["validation"]) == max(1, round(size / 5)) and len(roles["test"]) == 8
        assert len(set().union(*roles.values())) == size + 8
    for small, large in itertools.pairwise(taken):
        assert all(large[role][: len(small[role])] == small[role] for role in small)


@pytest.mark.parametrize(
    "split, size, said",
    [
        (2, 5, "no split2_role"),
        (1, 12, "10 train micrographs; split 1 has 8"),
        (1, 40, "validation"),
        (1, 1, "at least 2"),
    ],
)
def test_sizes_that_the_table_does_not_hold(split, size, said):
    rows = random_splits(SCENE, 1, 6, 6, 0)
    with pytest.raises(TemDataError, match=said):
        members(rows, split, size)


def test_an_empty_table_is_refused():
    with pytest.raises(TemDataError, match="split1_role"):
        members([], 1, 5)


def test_a_given_table_is_taken_as_it_is():
    rows = given_splits(
        table(
            ("a.1.png", "test", ""),
            ("b.png", "val", "1"),
            ("c.png", "train", "2"),
            ("d.png", "train", "1"),
            ("e.png", "", ""),
            ("not imported.png", "", ""),
            columns=("file_name", "split1_role", "split1_rank"),
        ),
        {"0": "s0", "a.1": "s1", "b": "s2", "c": "s3", "d": "s3", "e": "s4"},
        "splits.csv",
    )
    assert [row["micrograph_id"] for row in rows] == ["0", "a.1", "b", "c", "d", "e"]
    assert members(rows, 1, 3) == {"train": ["d", "c"], "validation": ["b"], "test": ["a.1"]}


@pytest.mark.parametrize(
    "row, said",
    [
        (("m1", "training", "1"), "row 3: split1_role is 'training'"),
        (("m99", "train", "1"), "row 3: 'm99'"),
        (("m1", "train", "first"), "row 3: split1_rank is 'first'"),
        (("m0", "test", "2"), "row 3: 'm0'.*twice"),
    ],
)
def test_faults_of_a_given_table_are_named(row, said):
    with pytest.raises(TemDataError, match=f"splits.csv {said}"):
        given_splits(table(("m0", "train", "1"), row), SCENE, "splits.csv")


def test_a_given_table_that_cuts_a_scene_is_refused():
    cut = table(("m0", "train", "1"), ("m1", "test", "1"), ("m2", "train", "2"), ("m3", "train", "3"))
    with pytest.raises(TemDataError, match=r"splits.csv: split 1 cuts a scene.*m0 \(train\), m1 \(test\)"):
        given_splits(cut, SCENE, "splits.csv")
    rows = [line | {"scene": SCENE[line["micrograph_id"]]} for line in cut]
    assert cut_scenes(rows, 1) == ["s0"] and cut_scenes(rows, 2) == []


def test_a_split_by_single_images_cuts_scenes():
    roles = random_image_split(list(SCENE), 6, 0)
    assert Counter(roles.values()) == {"test": 6, "train": 14} and roles == random_image_split(list(SCENE)[::-1], 6, 0)
    assert cut_scenes([{"scene": SCENE[m], "split1_role": role} for m, role in roles.items()], 1)


def test_a_split_without_test_micrographs_is_refused():
    rows = given_splits(table(("m0", "train", "1"), ("m2", "validation", "1")), SCENE, "splits.csv")
    with pytest.raises(TemDataError, match="split 1 of the split table has no test micrograph"):
        members(rows, 1, 2)


SIZES = st.lists(st.integers(1, 6), min_size=3, max_size=12)


def scenes_of(sizes):
    return {f"s{i}-{j}": f"s{i}" for i, size in enumerate(sizes) for j in range(size)}


def roles_of(rows, k):
    """The micrographs of each role, after what holds of every split: all dealt, no scene cut, ranks 1, 2, …"""
    assert cut_scenes(rows, k) == []
    held = {role: {} for role in ("train", "validation", "test")}
    for row in rows:
        held[row[f"split{k}_role"]][int(row[f"split{k}_rank"])] = row["micrograph_id"]
    for ranked in held.values():
        assert ranked and sorted(ranked) == list(range(1, len(ranked) + 1))
    return {role: set(ranked.values()) for role, ranked in held.items()}


@settings(deadline=None, max_examples=30)
@given(SIZES, st.integers(2, 6), st.integers(1, 5), st.integers(0, 99))
def test_every_scene_is_test_in_one_fold(sizes, folds, validation, seed):
    scene = scenes_of(sizes)
    try:
        rows = k_fold_splits(scene, folds, validation, seed)
    except TemDataError:
        assume(False)
    tested = [m for k in range(1, folds + 1) for m in roles_of(rows, k)["test"]]
    assert sorted(tested) == sorted(scene)
    of_folds = Counter(k for row in rows for k in range(1, folds + 1) if row[f"split{k}_role"] == "test")
    assert max(of_folds.values()) - min(of_folds.values()) <= max(sizes)
    assert rows == k_fold_splits(dict(reversed(scene.items())), folds, validation, seed)


def test_folds_of_single_micrographs_are_equal():
    scene = {f"m{i}": f"m{i}" for i in range(20)}
    rows = k_fold_splits(scene, 5, 3, 0)
    assert [[len(held) for held in roles_of(rows, k).values()] for k in range(1, 6)] == [[13, 3, 4]] * 5
    assert rows != k_fold_splits(scene, 5, 3, 1)
    assert members(rows, 5, 10)["train"] == members(rows, 5, 16)["train"][:8]


@settings(deadline=None, max_examples=30)
@given(SIZES, st.integers(1, 99), st.integers(1, 5), st.integers(0, 99))
def test_a_percentage_is_left_out_as_nearly_as_scenes_allow(sizes, percent, validation, seed):
    scene = scenes_of(sizes)
    rows = leave_out_percent_splits(scene, [percent], 2, validation, seed)
    for k in (1, 2):
        held = roles_of(rows, k)
        # two scenes stay for training and validation, however much was to be left out
        wanted = max(1, min(percent / 100 * len(scene), len(scene) - 2 * max(sizes)))
        assert len(held["test"]) - wanted >= -max(sizes) / 2
        assert len(held["test"]) - percent / 100 * len(scene) <= max(min(sizes), max(sizes) / 2)
        assert all(row[f"split{k}_left_out"] == f"{percent} %" for row in rows)
    assert rows == leave_out_percent_splits(scene, [percent], 2, validation, seed)


def test_percentages_of_single_micrographs_are_exact():
    scene = {f"m{i:03d}": f"m{i:03d}" for i in range(100)}
    rows = leave_out_percent_splits(scene, [10, 50, 90], 2, 10, 0)
    sizes = [{role: len(held) for role, held in roles_of(rows, k).items()} for k in range(1, 7)]
    # a fifth of what is left is validation where that is less than the 10 asked for
    assert [(s["test"], s["validation"]) for s in sizes] == [(10, 10)] * 2 + [(50, 10)] * 2 + [(90, 2)] * 2
    assert roles_of(rows, 1)["test"] != roles_of(rows, 2)["test"]
    assert list(describe_splits(rows))[4] == (
        "split 5: 8 train, 2 validation, 90 test; left out: 90 % (test is 90.0 %)"
    )


@settings(deadline=None, max_examples=30)
@given(SIZES, st.lists(st.sampled_from("abc"), min_size=72, max_size=72), st.integers(1, 5), st.integers(0, 99))
def test_nothing_of_a_group_that_is_left_out_is_trained_on(sizes, letters, validation, seed):
    scene = scenes_of(sizes)
    group = dict(zip(scene, letters, strict=False))
    try:
        rows = leave_one_group_out_splits(scene, group, validation, seed)
    except TemDataError:
        assume(False)
    assert {row["micrograph_id"]: row["group"] for row in rows} == group
    for k, name in enumerate(sorted(set(group.values())), 1):
        touched = {scene[m] for m in scene if group[m] == name}
        assert roles_of(rows, k)["test"] == {m for m in scene if scene[m] in touched}
        assert {row[f"split{k}_left_out"] for row in rows} == {name}


def test_a_scene_of_two_groups_is_test_whole_and_said():
    group = {m: "one" if int(m[1:]) < 5 else "two" if int(m[1:]) < 12 else "three" for m in SCENE}
    rows = leave_one_group_out_splits(SCENE, group, 2, 0)
    assert list(describe_splits(rows)) == [
        "split 1: 12 train, 2 validation, 6 test; left out: one (test is 30.0 %); "
        "1 test micrographs of other groups share a scene with it",
        "split 2: 10 train, 2 validation, 8 test; left out: three (test is 40.0 %)",
        "split 3: 10 train, 2 validation, 8 test; left out: two (test is 40.0 %); "
        "1 test micrographs of other groups share a scene with it",
    ]


def test_schemes_that_the_scenes_do_not_allow():
    two = {"a": "s1", "b": "s1", "c": "s2"}
    with pytest.raises(TemDataError, match="split.count: 3 folds of 2 scenes"):
        k_fold_splits(two, 3, 1, 0)
    with pytest.raises(TemDataError, match="split: fold 1: 1 scenes are test, 1 are left"):
        k_fold_splits(two, 2, 1, 0)
    with pytest.raises(TemDataError, match="50 % left out: 0 scenes are test, 2 are left"):
        leave_out_percent_splits(two, [50], 1, 1, 0)
    with pytest.raises(TemDataError, match="split.percents.*found 100"):
        leave_out_percent_splits(SCENE, [100], 1, 1, 0)
    with pytest.raises(TemDataError, match="group 'x' left out: 2 scenes are test, 0 are left"):
        leave_one_group_out_splits(two, {"a": "y", "b": "x", "c": "x"}, 1, 0)
    with pytest.raises(TemDataError, match="all micrographs are of one group"):
        leave_one_group_out_splits(two, dict.fromkeys(two, "x"), 1, 0)
    with pytest.raises(TemDataError, match="1 of 3 micrographs have none, as 'c'"):
        leave_one_group_out_splits(two, {"a": "x", "b": "y", "c": ""}, 1, 0)


def micrographs(**columns):
    return [
        Micrograph(m, None, (), (8, 8), scene=SCENE[m], **{name: values[i % 2] for name, values in columns.items()})
        for i, m in enumerate(SCENE)
    ]


def test_groups_are_a_column_of_the_micrographs_or_of_a_table(tmp_path):
    known = micrographs(specimen=("a", "b"), nm_per_px=(0.5, None))
    assert groups_of(known, "specimen")["m1"] == "b" and groups_of(known, "nm_per_px")["m0"] == "0.5"
    assert groups_of(known, "nm_per_px")["m1"] == ""
    with pytest.raises(TemDataError, match="split.group.*no 'microscope'.*split.table"):
        groups_of(known, "microscope")
    path = tmp_path / "calibration.csv"
    path.write_text("file_name,microscope\nm0.png,Talos\nfolder/m1.tif,Tecnai\nunknown.png,Titan\n")
    found = groups_of(known, "microscope", str(path))
    assert (found["m0"], found["m1"], found["m2"]) == ("Talos", "Tecnai", "") and set(found) == set(SCENE)
    with pytest.raises(TemDataError, match="calibration.csv: no column 'specimen'"):
        groups_of(known, "specimen", str(path))
    path.write_text("micrograph_id,microscope\nm0,Talos\nm0,Tecnai\n")
    with pytest.raises(TemDataError, match="calibration.csv row 3: 'm0' is 'Tecnai', and 'Talos' above"):
        groups_of(known, "microscope", str(path))


def test_a_micrograph_is_named_by_its_file_in_a_folder():
    rows = given_splits(
        [{"file_name": "a/1.png", "split1_role": "test"}, {"file_name": "b/1.png", "split1_role": "train"}],
        {"a_1.png": "s0", "b_1.png": "s1"},
        "splits.csv",
    )
    assert [row["split1_role"] for row in rows] == ["test", "train"]


def test_settings_choose_the_scheme(tmp_path):
    known = micrographs(specimen=("a", "a"))
    assert make_splits(SplitSettings(count=2, test=6, validation=4), known) == random_splits(SCENE, 2, 6, 4, 0)
    assert make_splits(SplitSettings("k_fold", count=4, seed=1), known) == k_fold_splits(SCENE, 4, 2, 1)
    percents = SplitSettings("leave_out_percent", percents=[20, 40])
    assert make_splits(percents, known) == leave_out_percent_splits(SCENE, [20, 40], 1, 2, 0)
    path = tmp_path / "table.csv"
    path.write_text("micrograph_id,split1_role,alloy\n" + "".join(f"{m},test,{SCENE[m]}\n" for m in SCENE))
    groups = SplitSettings("leave_one_group_out", str(path), "alloy")
    assert make_splits(groups, known) == leave_one_group_out_splits(SCENE, SCENE, 2, 0)
    assert {row["split1_role"] for row in make_splits(SplitSettings("table", str(path)), known)} == {"test"}


@pytest.mark.parametrize(
    "chosen, said",
    [
        ({"scheme": "by_image"}, "split.scheme.*'by_image'"),
        ({"scheme": "table"}, "split.table: .*the scheme `table` needs"),
        ({"table": "splits.csv"}, "split.table: the scheme `random` does not use splits.csv"),
        ({"count": 0}, "split.count"),
        ({"scheme": "k_fold", "count": 3, "validation": 0}, "split.validation"),
        ({"scheme": "leave_one_group_out"}, "all micrographs are of one group"),
    ],
)
def test_faults_of_the_settings_are_named(chosen, said):
    with pytest.raises(TemDataError, match=said):
        make_splits(SplitSettings(**chosen), micrographs(specimen=("a", "a")))


def test_a_table_that_leaks_is_refused():
    rows = [
        {"micrograph_id": "a", "scene": "s", "split1_role": "test"},
        {"micrograph_id": "b", "scene": "s", "split1_role": "train"},
    ]
    with pytest.raises(TemDataError, match=r"split 1 cuts a scene.*a \(test\), b \(train\)"):
        check_splits(rows, "split")
    with pytest.raises(TemDataError, match="'a' is there twice"):
        check_splits([rows[0], rows[0]], "split")


def test_real_groups_never_lie_on_both_sides(shared):
    folder = shared / "data" / "fecral"
    scene = {Path(row["file_name"]).stem: row["scene"] for row in read_table(folder / "splits.csv")}
    bare = [Micrograph(m, None, (), (8, 8), scene=scene[m]) for m in scene]
    choice = SplitSettings("leave_one_group_out", str(folder / "micrographs.csv"), "specimen", validation=5)
    rows = make_splits(choice, bare)
    assert sum(column.endswith("_role") for column in rows[0]) == 13
    # the scene of the one micrograph of `dalong` holds nine of `BF X500K`
    said = [line for line in describe_splits(rows) if "left out: dalong" in line]
    assert len(said) == 1 and "; 9 test micrographs of other groups" in said[0]
    for k in range(1, 14):
        trained = {row["group"] for row in rows if row[f"split{k}_role"] != "test"}
        assert rows[0][f"split{k}_left_out"] not in trained


def test_size_all_takes_all_that_a_split_has():
    rows = random_splits({f"m{i}": f"s{i}" for i in range(12)}, 1, 3, 2, 0)
    everything = members(rows, 1, "all")
    assert {role: len(names) for role, names in everything.items()} == {"train": 7, "validation": 2, "test": 3}
    assert set(members(rows, 1, 5)["train"]) < set(everything["train"])
