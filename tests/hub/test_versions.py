"""What changed between two versions, and the number that follows."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tem_data.core.errors import TemDataError
from tem_data.core.schema import write_shard
from tem_data.hub.rows import Change, compare, read_index, row_hashes, write_index
from tem_data.hub.versions import Version, checked_version, next_version, parse_version, versions_of
from tests.helpers.finished_project import CLASSES, picture

contents = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.sampled_from("rstuv")), st.binary(min_size=1, max_size=1)
)


@given(contents, contents)
def test_changes_add_up(old, new):
    changes = compare(old, new)
    for group in "ab":
        change = changes.get(group, Change(0, 0, 0))
        before, after = (sum(key[0] == group for key in held) for held in (old, new))
        assert after - before == change.added - change.removed
    assert (changes == {}) == (old == new)
    assert compare(new, old).keys() == changes.keys()


@pytest.mark.parametrize(
    "change, version",
    [((0, 0, 0), "v1.2.4"), ((3, 0, 0), "v1.3.0"), ((3, 1, 0), "v2.0.0"), ((0, 0, 1), "v2.0.0")],
)
def test_the_number_says_what_changed(change, version):
    assert str(next_version(Version(1, 2, 3), [Change(*change)])) == version
    assert str(next_version(None, [Change(*change)])) == "v1.0.0"


def test_versions_sort_as_numbers_and_other_tags_do_not_count():
    assert [str(v) for v in versions_of(["v1.10.0", "v1.9.0", "main-old", "v2", "1.0.0"])] == ["v1.9.0", "v1.10.0"]


@pytest.mark.parametrize("text", ["1", "v1.2", "v1.2.x", "latest", ""])
def test_what_is_no_version(text):
    with pytest.raises(TemDataError, match="v1.0.0"):
        parse_version(text)


def test_a_version_asked_for_may_say_more():
    assert checked_version("2.0.0", Version(1, 0, 0), [Change(1, 0, 0)]) == Version(2, 0, 0)


def hashes(tmp_path, pairs) -> dict:
    write_shard(tmp_path / "shard.parquet", pairs, CLASSES)
    write_index(tmp_path / "index.parquet", row_hashes([tmp_path / "shard.parquet"], "g"))
    return read_index(tmp_path / "index.parquet")


def test_a_row_is_its_content(tmp_path):
    pairs = [picture("a", 0), picture("a", 1), picture("b", 0, seed=3)]
    first = hashes(tmp_path, pairs)
    assert len(first) == 3 and hashes(tmp_path, pairs) == first
    assert hashes(tmp_path, [pairs[2], *pairs[:2]]) == first
    for changed in (
        replace(pairs[2], nm_per_px=0.6),
        replace(pairs[2], image=pairs[2].image ^ 1),
        replace(pairs[2], defects=pairs[2].defects[:-1]),
    ):
        assert compare(first, hashes(tmp_path, [*pairs[:2], changed])) == {"g": Change(0, 0, 1)}
    assert compare(first, hashes(tmp_path, pairs[:2])) == {"g": Change(0, 1, 0)}
