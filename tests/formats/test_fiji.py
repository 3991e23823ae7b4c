import numpy as np
import pytest

from tem_data.core.errors import SettingError, TemDataError
from tem_data.formats.fiji import is_results, parse_log, read_ellipses, read_fiji
from tem_data.importing.labels import Ellipse
from tem_data.importing.quarantine import Quarantine

HEADER = "Area,X,Y,Major,Minor,Angle"
ROWS = ["63.6,15.25,14,9.9,8.5,15", "78.5,62.5,20,11,9.5,30"]
SHAPES = [Ellipse(15.25, 14, 9.9, 8.5, 15), Ellipse(62.5, 20, 11, 9.5, 30)]


def test_ellipse_table_with_other_columns(tmp_path):
    path = tmp_path / "e.csv"
    path.write_text("image,class,x_px,y_px,major_px,minor_px,angle_deg\nb.png,1,2,3,4,,6\na.png,2,1,1,2,2,0\n")
    first, second = read_ellipses(path, {"file_name": "image"})
    assert (first.file_name, first.labels[0].item, first.labels[0].name) == ("b.png", "row 2", "1")
    assert np.isnan(first.labels[0].outline.minor) and second.labels[0].outline == Ellipse(1, 1, 2, 2, 0)
    with pytest.raises(TemDataError, match="e.csv.*missing: file_name"):
        read_ellipses(path)
    with pytest.raises(TemDataError, match="width"):
        read_ellipses(path, {"width": "w"})


def test_decimal_commas_in_an_ellipse_table_are_refused(tmp_path):
    header = "file_name,class,x_px,y_px,major_px,minor_px,angle_deg"
    (tmp_path / "e.csv").write_text(f"{header}\na.png,1,1,2,2,2,0\na.png,1,1,5,2,2,2,0\n")
    with pytest.raises(TemDataError, match="e.csv row 3: expected a cell for each of the 7 columns, found 8"):
        read_ellipses(tmp_path / "e.csv")


def test_a_fiji_table_with_decimal_commas_is_set_aside(tmp_path):
    (tmp_path / "a_results.csv").write_text(" ,X,Y,Major,Minor,Angle\n1,10,5,20,4,3,45\n")
    (tmp_path / "a_log.txt").write_text("0\n1\n")
    quarantine = Quarantine()
    assert read_fiji(tmp_path, {0: "loop"}, (), quarantine) == []
    (row,) = quarantine.rows
    assert row["reason"] == "unreadable table" and "row 2: expected a cell" in row["detail"]


def test_fiji_log():
    assert parse_log("0\n1 3\n\n1\n7 9 12\n\n\n2\n\n5\n4\n") == {0: [1, 2, 3], 1: [7, 9, 12], 2: [], 5: [4]}
    for wrong in ("0\n1 3\n4 5\n", "bdot\n1 3\n", ""):
        with pytest.raises(ValueError, match="class number"):
            parse_log(wrong)


def test_fiji_pairs(tmp_path):
    rows = "".join(f"{i},{i},10,20,4,3,45\n" for i in range(1, 6))
    for stem in ("a", "nolog"):
        (tmp_path / f"{stem}_results.csv").write_text(" ,Area,X,Y,Major,Minor,Angle\n" + rows)
    (tmp_path / "a_log.txt").write_text("0\n1 2\n\n1\n2 4 9\n\n2\n5\n")
    quarantine = Quarantine()
    (table,) = read_fiji(tmp_path, {0: "loop", 1: "dot"}, (), quarantine)
    assert table.file_name == "a" and table.measured
    assert [(r.item, r.name) for r in table.labels] == [
        ("row 1", "loop"), ("row 3", ""), ("row 4", "dot"), ("row 5", "class number 2")
    ]  # fmt: skip
    assert [(r["item"], r["reason"]) for r in quarantine.rows] == [
        ("row 9", "missing row"), ("row 2", "conflicting class"), ("nolog_results.csv", "unreadable table")
    ]  # fmt: skip
    with pytest.raises(TemDataError, match="Results tables"):
        read_fiji(tmp_path / "none", {0: "loop"}, (), quarantine)


@pytest.mark.parametrize("log, kept", [(None, True), ("\n", True), ("0\n\n1\n", True), ("0\n1 3\n", False)])
def test_a_fiji_table_without_rows_is_an_image_without_defects(tmp_path, log, kept):
    (tmp_path / "a_results.csv").write_text(" ,Area,X,Y,Major,Minor,Angle\n")
    if log is not None:
        (tmp_path / "a_log.txt").write_text(log)
    quarantine = Quarantine()
    tables = read_fiji(tmp_path, {0: "loop"}, (), quarantine)
    assert [table.labels for table in tables] == ([()] if kept else [])
    assert quarantine.counts() == ({} if kept else {"unreadable table": 1})


def test_a_fiji_table_without_a_header_cannot_be_read(tmp_path):
    for name in ("a_results.csv", "a_log.txt"):
        (tmp_path / name).write_text("")
    quarantine = Quarantine()
    assert read_fiji(tmp_path, {0: "loop"}, (), quarantine) == []
    assert quarantine.counts() == {"unreadable table": 1}


def shapes(tables):
    return {t.file_name: [(label.name, label.outline) for label in t.labels] for t in tables}


@pytest.mark.parametrize("name", ["a.csv", "a_results.csv", "a-Results.tsv", "Results_a.xls", "a.txt"])
@pytest.mark.parametrize("between, point", [(",", "."), ("\t", "."), (";", ","), ("\t", ",")])
def test_results_as_fiji_saves_them(tmp_path, name, between, point):
    lines = [" ," + HEADER, *(f"{i},{row}" for i, row in enumerate(ROWS, 1))]
    text = "\n".join(line.replace(",", between).replace(".", point) for line in lines)
    (tmp_path / name).write_text("\ufeff" + text + "\n", encoding="utf-8")
    assert is_results(tmp_path / name)
    # of one class, which needs no log
    assert shapes(read_fiji(tmp_path, None, ["loop"], Quarantine())) == {"a": [("loop", shape) for shape in SHAPES]}


def test_one_table_of_all_images_and_its_column_of_classes(tmp_path):
    labels = ["a.tif:0001-0123", "b.tif"]
    lines = [f",Label,{HEADER},Class", *(f"{i},{labels[i]},{row},c{i}" for i, row in enumerate(ROWS))]
    (tmp_path / "Results.csv").write_text("\n".join(lines) + "\n")
    expected = {"a.tif": [("c0", SHAPES[0])], "b.tif": [("c1", SHAPES[1])]}
    for path in (tmp_path, tmp_path / "Results.csv"):
        assert shapes(read_fiji(path, None, (), Quarantine())) == expected


def test_without_angles_only_round_ones_have_a_shape(tmp_path):
    (tmp_path / "a.csv").write_text("X,Y,Major,Minor\n10,12,8,7.5\n30,12,8,4\n")
    (table,) = read_fiji(tmp_path, None, ["loop"], Quarantine())
    first, second = (label.outline for label in table.labels)
    assert first == Ellipse(10, 12, 8, 7.5, 0) and np.isnan(second.angle_deg)


def test_classes_that_nobody_names(tmp_path):
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    quarantine = Quarantine()
    assert read_fiji(tmp_path, None, ["loop", "dot"], quarantine) == []
    assert "a_log.txt or in a column Class" in quarantine.rows[0]["detail"]
    (tmp_path / "a_log.txt").write_text("0\n1\n\n3\n2\n")
    with pytest.raises(SettingError, match="import.class_numbers: missing; name the class of each number .*: 0, 3"):
        read_fiji(tmp_path, None, ["loop", "dot"], Quarantine())


def test_a_spreadsheet_is_no_table(tmp_path):
    (tmp_path / "a_results.xls").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(100))
    quarantine = Quarantine()
    assert read_fiji(tmp_path, {0: "loop"}, (), quarantine) == []
    assert "spreadsheet; save it as CSV" in quarantine.rows[0]["detail"]


def of_fiji(tmp_path, text, name="a.csv", encoding="utf-8"):
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert is_results(tmp_path / name)
    quarantine = Quarantine()
    return shapes(read_fiji(tmp_path, None, ["loop"], quarantine)), " ".join(r["detail"] for r in quarantine.rows)


TWO = {"a": [("loop", shape) for shape in SHAPES]}
TABLE = "\n".join([f" ,{HEADER}", f"1,{ROWS[0]}", f"2,{ROWS[1]}"]) + "\n"


@pytest.mark.parametrize("text", [
    TABLE + "Mean,70,30,17,10,9,20\nSD,9,9,9,9,9,9\nMin,60,15,14,9,8,15\nMax,80,62,20,11,9,30\n",
    TABLE + TABLE.split("\n")[0] + "\n",
    "\n" + TABLE.replace("\n", "\r\n"),
    "sep=,\n" + TABLE,
    TABLE.replace(HEADER, "Area (px^2),X (px),Y [px],Major (px),Minor (px),Angle"),
])  # fmt: skip
def test_rows_and_lines_that_are_no_labels(tmp_path, text):
    assert of_fiji(tmp_path, text) == (TWO, "")


def test_summaries_where_labels_name_the_image(tmp_path):
    rows = "".join(f"{i},{name},{ROWS[0]}\n" for i, name in enumerate(("a.tif", "Mean", "SD", "Min", "Max"), 1))
    found, why = of_fiji(tmp_path, f" ,Label,{HEADER}\n{rows}", "Results.csv")
    assert (found, why) == ({"a.tif": [("loop", SHAPES[0])]}, "")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252"])
def test_results_of_any_encoding(tmp_path, encoding):
    assert of_fiji(tmp_path, TABLE.replace("Area", "Mean µ,Area").replace("\n1,", "\n1,5,").replace("\n2,", "\n2,5,"),
                   encoding=encoding) == (TWO, "")  # fmt: skip


@pytest.mark.parametrize("label", ["C:\\data\\a.tif:0001", "/data/a.tif:1", "a.tif"])
def test_labels_with_a_folder(tmp_path, label):
    assert list(of_fiji(tmp_path, f" ,Label,{HEADER}\n1,{label},{ROWS[0]}\n", "Results.csv")[0]) == ["a.tif"]


def test_what_a_table_lacks_is_said_with_the_remedy(tmp_path):
    found, why = of_fiji(tmp_path, TABLE.replace("X,Y", "XM,YM"))
    assert found == {} and "missing: X, Y; it has Area, XM, YM" in why and "tick Centroid and Fit ellipse" in why
    (tmp_path / "a.csv").unlink()
    found, why = of_fiji(tmp_path, TABLE, "Results.csv")
    assert found == {} and "does not say of which image; name it NAME_results.csv, or tick Display label" in why


def test_an_angle_that_is_no_number_is_none_of_a_circle(tmp_path):
    found, _ = of_fiji(tmp_path, f"{HEADER}\n78.5,15,14,10,10,NaN\n")
    assert found == {"a": [("loop", Ellipse(15, 14, 10, 10, 0))]}
