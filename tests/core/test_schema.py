import re
from dataclasses import fields, replace

import numpy as np
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyarrow import parquet

from tem_data.core.card import COLUMNS
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import ORIGINS, Micrograph, defect_from_mask
from tem_data.core.schema import (
    Classes,
    common_classes,
    features,
    read_classes,
    read_dataset,
    write_dataset,
    write_micrographs,
    write_readme,
)

CLASSES = Classes(("100", "111", "bdot"), ("ambiguous",))


@st.composite
def micrographs(draw):
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    labels = st.sampled_from(CLASSES.labels)
    masks = draw(st.lists(arrays(bool, shape), max_size=3))
    defects = [defect_from_mask(draw(labels), mask, ignore=draw(st.booleans())) for mask in masks]
    scale = st.none() | st.floats(0.01, 100)
    return Micrograph(
        micrograph_id=draw(st.text(max_size=5)),
        image=draw(st.none() | arrays(np.uint8, shape)),
        defects=tuple(d for d in defects if d is not None),
        shape=shape,
        nm_per_px=draw(scale),
        thickness_nm=draw(scale),
        specimen=draw(st.text(max_size=5)),
        scene=draw(st.text(max_size=5)),
        origin=draw(st.sampled_from(ORIGINS)),
        x=draw(st.integers(0, 5000)),
        y=draw(st.integers(0, 5000)),
        symmetry=draw(st.integers(0, 7)),
        seed=draw(st.none() | st.integers(0, 2**63 - 1)),
        checkpoint=draw(st.text(max_size=5)),
    )


def assert_same(one: Micrograph, other: Micrograph) -> None:
    for field in fields(Micrograph):
        if field.name not in ("image", "defects"):
            assert getattr(one, field.name) == getattr(other, field.name), field.name
    assert np.array_equal(one.image, other.image) if one.image is not None else other.image is None
    for a, b in zip(one.defects, other.defects, strict=True):
        assert (a.category, a.bbox, a.ignore) == (b.category, b.bbox, b.ignore)
        assert np.array_equal(a.mask, b.mask)


def square(category="111", x=2, y=3, side=4, ignore=False):
    return defect_from_mask(category, np.ones((side, side), bool), x, y, ignore)


def patch(name="m", defects=(), size=16, **rest):
    return Micrograph(name, np.full((size, size), 90, np.uint8), tuple(defects), (size, size), **rest)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(micrographs(), min_size=1, max_size=3))
def test_what_is_written_is_read(tmp_path, written):
    write_dataset(tmp_path / "d", {"train": written}, CLASSES)
    for one, other in zip(written, read_dataset(tmp_path / "d", "train"), strict=True):
        assert_same(one, other)
    assert read_classes(tmp_path / "d") == CLASSES


def test_rows_come_back_in_order_over_shards(tmp_path):
    write_dataset(tmp_path / "d", {"train": (patch(f"{i}") for i in range(300))}, CLASSES)
    assert len(list((tmp_path / "d/data").iterdir())) == 2
    assert [m.micrograph_id for m in read_dataset(tmp_path / "d")] == [f"{i}" for i in range(300)]


def test_class_names_of_any_kind(tmp_path):
    odd = Classes(("100", "a---b", "no", "---", "µ: x"))
    write_dataset(tmp_path / "d", {"test": [patch()]}, odd, "Words --- and\n---\nmore.")
    assert read_classes(tmp_path / "d") == odd


def test_hugging_face_datasets_reads_it(tmp_path):
    from datasets import ClassLabel, Image, load_dataset

    dots = [square("bdot", i % 20, i // 20, 1) for i in range(300)]
    train = [patch("a", [square(), square("ambiguous", 9, 9, 3, True)]), patch("b", dots, 20, nm_per_px=0.5)]
    mask = replace(patch("c", [square("100")], origin="sim", seed=2**40), image=None)
    write_dataset(tmp_path / "d", {"train": train, "validation": [], "test": [mask]}, CLASSES, "A test.")
    data = load_dataset(str(tmp_path / "d"), cache_dir=str(tmp_path / "cache"))

    assert {name: split.num_rows for name, split in data.items()} == {"train": 2, "test": 1}
    columns = data["train"].features
    assert all(isinstance(columns[name], Image) for name in ("image", "mask", "instances"))
    assert isinstance(columns["objects"]["category"].feature, ClassLabel)
    assert columns["objects"]["category"].feature.names == list(CLASSES.labels)
    instances = np.array(data["train"][1]["instances"])
    assert instances.dtype == np.uint16 and instances.max() == 300
    first = data["train"][0]
    assert (first["image"].mode, np.unique(first["mask"]).tolist()) == ("L", [0, 2])
    assert first["objects"]["bbox"] == [[2, 3, 4, 4], [9, 9, 3, 3]]
    assert (first["objects"]["area"], first["objects"]["ignore"]) == ([16, 9], [False, True])
    assert (data["test"][0]["image"], data["test"][0]["seed"], first["nm_per_px"]) == (None, 2**40, None)


def test_the_card_names_every_column_and_mask_value_and_its_code_decodes_a_row(tmp_path):
    odd = Classes(("100", "a|b {x}", "µ: 'x'"), ("ambiguous",))
    write_dataset(tmp_path / "d", {"test": [patch("m", [square("a|b {x}"), square("100", 0, 0, 2)])]}, odd, "Words.")
    card = (tmp_path / "d/README.md").read_text(encoding="utf-8")
    nested = {"objects": [f"objects.{name}" for name in features(odd)["objects"]]}
    columns = [column for name in features(odd) for column in nested.get(name, [name])]
    assert list(COLUMNS) == columns and all(f"| `{name}` | {COLUMNS[name]} |" in card for name in columns)
    for line in ("| 0 | background |", "| 1 | `100` |", r"| 2 | `a\|b {x}` |", "| 3 | `µ: 'x'` |", "`ambiguous`"):
        assert line in card
    code = re.search("```python\n(.*?)```", card, re.DOTALL)[1].replace("FOLDER", str(tmp_path / "d"))
    assert len(code.splitlines()) == 5
    exec(code.replace("split=", f"cache_dir={str(tmp_path / 'cache')!r}, split="), found := {})
    assert found["pixels"] == {"background": 236, "100": 4, "a|b {x}": 16}
    assert [mask.sum() for mask in found["objects"]] == [16, 4] and found["objects"][0][3:7, 2:6].all()


def test_micrographs_say_which_split_there_is(tmp_path):
    from datasets import load_dataset

    write_micrographs(tmp_path / "d", [patch()], CLASSES, "Whole micrographs.")
    assert 'before any split: `split="train"` is an error' in (tmp_path / "d/README.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r'Unknown split "train". Should be one of \[\'micrographs\'\]'):
        load_dataset(str(tmp_path / "d"), split="train", cache_dir=str(tmp_path / "cache"))


def test_a_folder_without_rows_has_a_card(tmp_path):
    write_dataset(tmp_path / "d", {"train": []}, CLASSES)
    card = (tmp_path / "d/README.md").read_text(encoding="utf-8")
    assert "there are no rows" in card and "```" not in card and read_classes(tmp_path / "d") == CLASSES


def test_a_class_that_is_not_listed_is_refused(tmp_path):
    with pytest.raises(TemDataError, match="grain7: class 'void'.*'100'"):
        write_dataset(tmp_path / "d", {"train": [patch("grain7", [square("void")])]}, CLASSES)
    assert not list(tmp_path.iterdir())


def test_a_failure_keeps_the_old_folder(tmp_path):
    def failing():
        yield from (patch(f"new{i}") for i in range(300))
        raise ZeroDivisionError

    write_dataset(tmp_path / "d", {"train": [patch("old")]}, CLASSES)
    with pytest.raises(ZeroDivisionError):
        write_dataset(tmp_path / "d", {"train": failing()}, CLASSES)
    assert [m.micrograph_id for m in read_dataset(tmp_path / "d")] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize(
    "readme",
    [None, b"", b"# Words", b"---\n[\n---\n", b"---\nlicense: mit\n---\n", b"---\ntem_data: 3\n---\n", b"\xff\xfe"],
)
def test_a_folder_without_its_readme_is_refused(tmp_path, readme):
    write_dataset(tmp_path / "d", {"train": [patch()]}, CLASSES)
    path = tmp_path / "d/README.md"
    path.unlink() if readme is None else path.write_bytes(readme)
    with pytest.raises(TemDataError, match=re.escape(str(path))):
        list(read_dataset(tmp_path / "d"))


def test_a_damaged_shard_is_named(tmp_path):
    write_dataset(tmp_path / "d", {"train": [patch()]}, CLASSES)
    shard = tmp_path / "d/data/train-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(TemDataError, match="train-00000.parquet"):
        list(read_dataset(tmp_path / "d"))


@pytest.mark.parametrize("category", [-1, 4, None])
def test_a_category_that_is_no_class_is_refused_where_python_would_take_another(tmp_path, category):
    write_dataset(tmp_path / "d", {"train": [patch("fine"), patch("bad", [square()])]}, CLASSES)
    shard = tmp_path / "d/data/train-00000.parquet"
    table = parquet.read_table(shard)
    rows = table.to_pylist()
    rows[1]["objects"]["category"] = [category]
    parquet.write_table(pyarrow.Table.from_pylist(rows, table.schema), shard)
    with pytest.raises(TemDataError, match=rf"d/data/train-00000.parquet: row 1: bad: objects.category {category} "):
        list(read_dataset(tmp_path / "d"))


def test_a_readme_that_numbers_the_classes_otherwise_than_the_shards_is_refused(tmp_path):
    write_dataset(tmp_path / "d", {"train": [patch("m", [square("100")])]}, CLASSES)
    write_readme(tmp_path / "d", Classes(("bdot", "111", "100"), ("ambiguous",)))
    with pytest.raises(TemDataError, match="train-00000.parquet: its classes are .*README.md"):
        list(read_dataset(tmp_path / "d"))


def test_folders_of_the_same_classes_go_together_in_any_order_and_keep_their_labels(tmp_path):
    for name, classes in (("a", Classes(("100", "111"))), ("b", Classes(("111", "100")))):
        write_dataset(tmp_path / name, {"train": [patch(name, [square("111")])]}, classes)
    folders = [tmp_path / "a", tmp_path / "b"]
    assert common_classes(folders) == common_classes(folders[:1]) == Classes(("100", "111"))
    assert [d.category for folder in folders for m in read_dataset(folder) for d in m.defects] == ["111", "111"]


@pytest.mark.parametrize("other", [Classes(("100",)), Classes(("100", "111", "x")), Classes(("100",), ("111",))])
def test_folders_of_other_classes_do_not_go_together(tmp_path, other):
    for name, classes in (("a", Classes(("100", "111"))), ("b", other)):
        write_dataset(tmp_path / name, {"train": [patch(name)]}, classes)
    with pytest.raises(TemDataError, match=r"b: classes .*expected \['100', '111'\], as .*a has them"):
        common_classes([tmp_path / "a", tmp_path / "b"])


def test_who_labelled_is_kept_and_missing_in_older_folders(tmp_path):
    write_dataset(tmp_path / "d", {"test": [patch("a", labelled_by="org/name@v1, reviewed"), patch("b")]}, CLASSES)
    assert [m.labelled_by for m in read_dataset(tmp_path / "d")] == ["org/name@v1, reviewed", ""]
    (shard,) = (tmp_path / "d/data").iterdir()
    table = parquet.read_table(shard)
    parquet.write_table(table.drop_columns("labelled_by"), shard)
    assert [m.labelled_by for m in read_dataset(tmp_path / "d")] == ["", ""]
