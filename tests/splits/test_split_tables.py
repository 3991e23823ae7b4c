"""A split table as a file: what is wrong with it is said with its row, and nothing learns from it."""

import pytest

from tem_data.core.errors import TemDataError
from tem_data.splits.table import given_splits, members, read_splits

HEAD = "micrograph_id,scene,split1_role,split1_rank"
GOOD = ("a,s0,train,1", "b,s1,validation,1", "c,s2,test,1", "d,s3,,")


def written(folder, *rows, head=HEAD):
    path = folder / "splits.csv"
    path.write_text("\n".join((head, *rows)) + "\n")
    return path


def test_a_good_table_is_read(tmp_path):
    rows = read_splits(written(tmp_path, *GOOD))
    assert [row["micrograph_id"] for row in rows] == ["a", "b", "c", "d"]
    assert members(rows, 1, 2) == {"train": ["a"], "validation": ["b"], "test": ["c"]}


def test_val_is_validation_here_too(tmp_path):
    rows = read_splits(written(tmp_path, *GOOD[:1], "b,s1,val,1", *GOOD[2:]))
    assert members(rows, 1, 2)["validation"] == ["b"]


@pytest.mark.parametrize(
    "row, said",
    [
        ("a,s0,test,1", "row 6: 'a' is there twice"),
        ("a,s0,train,1", "row 6: 'a' is there twice"),
        ("e,s4,training,1", "row 6: split1_role is 'training'"),
        ("e,s4, train,1", "row 6: split1_role is ' train'"),
        ("e,s4,train,1.0", "row 6: split1_rank is '1.0'"),
        ("e,s4,train,first", "row 6: split1_rank is 'first'"),
        ("e,s4,train,0", "row 6: split1_rank is '0'"),
        ("e,s4,train,-1", "row 6: split1_rank is '-1'"),
        ("e,s0,test,2", r"split 1 cuts a scene.*a \(train\), e \(test\)"),
        ("e,s4", "row 6: expected a cell for each of the 4 columns, found 2"),
        ("e,s4,train,2,5", "row 6: expected a cell for each of the 4 columns, found 5"),
        (",s4,train,2", "row 6: expected a micrograph_id"),
    ],
)
def test_faults_of_a_row_are_named(tmp_path, row, said):
    with pytest.raises(TemDataError, match=f"splits.csv:? {said}"):
        read_splits(written(tmp_path, *GOOD, row))


@pytest.mark.parametrize(
    "head, rows, said",
    [
        (HEAD, (), "holds no micrograph"),
        ("file_name,scene,split1_role,split1_rank", GOOD, "has no column micrograph_id;"),
        ("micrograph_id,field,split1_role,split1_rank", GOOD, "has no column scene;"),
        ("micrograph_id,scene,role,rank", GOOD, "has no column split1_role;"),
        ("micrograph_id,scene,my_role,rank", GOOD, "has no column split1_role;"),
    ],
)
def test_faults_of_the_table_are_named(tmp_path, head, rows, said):
    with pytest.raises(TemDataError, match=f"splits.csv: {said}.*tem-data split"):
        read_splits(written(tmp_path, *rows, head=head))


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(TemDataError, match="splits.csv: expected a CSV file"):
        read_splits(tmp_path / "splits.csv")


@pytest.mark.parametrize("rows", [[], [{"micrograph_id": "a"}], [{"micrograph_id": "a", "split1_role": ""}]])
def test_a_given_table_without_any_role_is_refused(rows):
    with pytest.raises(TemDataError, match="given.csv: gives no micrograph a role"):
        given_splits(rows, {"a": "s0"}, "given.csv")
