from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tem_data.errors import TemDataError
from tem_data.splits import cut_scenes, given_splits, members, random_image_split, random_splits

SCENE = {f"m{i}": f"s{i // 2}" for i in range(20)}


def table(*rows, columns=("micrograph_id", "split1_role", "split1_rank")):
    return [dict(zip(columns, row)) for row in rows]


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
    for small, large in zip(taken, taken[1:]):
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
