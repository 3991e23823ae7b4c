import pytest

from tem_data.core.errors import TemDataError
from tem_data.importing.tables import Calibration, calibration_of, number, read_calibrations

HEADER = "file_name,nm_per_px,thickness_nm,specimen\n"


@pytest.fixture
def read(tmp_path):
    def of(rows):
        (tmp_path / "c.csv").write_text(HEADER + rows)
        return read_calibrations(tmp_path / "c.csv")

    return of


def test_calibrations_are_found_with_or_without_a_folder(read):
    found = read("a.png,0.5,80, steel \nx\\b.png,0.25,,\n./c.png,,,\n,,,\n")
    for name in ("a.png", "x/a.png", r"images\a.png", "./a.png"):
        assert calibration_of(found, name) == Calibration(0.5, 80, "steel")
    assert calibration_of(found, "x/b.png").nm_per_px == 0.25
    assert calibration_of(found, "c.png") == calibration_of(found, "none.png") == Calibration()
    assert read_calibrations(None) == {}


@pytest.mark.parametrize(
    "rows, said",
    [
        ("a.png,0.5,,\na.png,0.5,,\n", "row 3: 'a.png' stands in row 2 too"),
        ("a.png,0.5,,\n./a.png,0.6,,\n", "row 3: 'a.png' stands in row 2 too"),
        ("sub/a.png,0.5,,\na.png,0.6,,\n", "row 2: 'sub/a.png' is 'a.png' of row 3 with a folder"),
        ("a.png,0,5,100,\n", "row 2: expected a cell for each of the 4 columns, found 5"),
        ("a.png,0.5\n", "row 2: expected a cell for each of the 4 columns, found 2"),
        (",0.5,,\n", "row 2, file_name"),
        ("a.png,nan,,\n", "row 2, nm_per_px"),
        ("a.png,0.5,inf,\n", "row 2, thickness_nm"),
        ("a.png,0.5,0.1,\n", "row 2, thickness_nm: no foil that is seen through is 0.1 nm thick; give it in nm"),
    ],
)
def test_a_calibration_that_is_not_sure_is_refused(read, rows, said):
    with pytest.raises(TemDataError, match=f"c.csv:? {said}"):
        read(rows)


def test_two_folders_may_hold_one_name(read):
    found = read("x/a.png,0.5,,\ny/a.png,0.6,,\n")
    assert [calibration_of(found, f"{folder}/a.png").nm_per_px for folder in "xy"] == [0.5, 0.6]


def test_what_is_no_number_is_nan():
    assert number("1.5") == 1.5
    for value in (None, "", "x", [], 10**400):
        assert number(value) != number(value)


@pytest.fixture
def table(tmp_path):
    def of(text, encoding="utf-8"):
        (tmp_path / "c.csv").write_bytes(text.encode(encoding))
        return {name: known[:2] for name, known in read_calibrations(tmp_path / "c.csv").items()}

    return of


RIGHT = {"a.png": (0.5, 80), "b.png": (0.25, None)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("text", [
    "file_name,nm_per_px,thickness_nm,µ\na.png,0.5,80,\nb.png,0.25,,\n",
    "sep=;\r\nFile_Name;nm/px;thickness (nm);µ\r\na.png;0,5;80;\r\nb.png;0,25;;\r\n",
    "\n\nImage\tNM per pixel \tThickness\tµ\na.png\t5E-1\t80\t\nb.png\t ,25 \t\t\n",
])  # fmt: skip
def test_tables_as_people_write_them(table, text, encoding):
    assert table(text, encoding) == RIGHT


@pytest.mark.parametrize(("text", "said"), [
    ('file_name,nm_per_px,thickness_nm\na.png,0.5,"1,234"\n', "thickness_nm: '1,234' may be a thousand or a fraction"),
    ("file_name;nm_per_px;thickness_nm\na.png;0,5;1.234\n", "thickness_nm: '1.234' may be a thousand or a fraction"),
    ('file_name,nm_per_px,thickness_nm\na.png,0.5,"1,234.5"\n', "expected a positive number"),
    ("file_name,nm_per_px\na.png,5e-10\n", "row 2, nm_per_px: 5e-10 nm per px is no pixel size .*; give it in nm"),
    ("file_name,nm_per_px\na.png,500000\n", "no pixel size of a micrograph"),
    ("file_name,px_per_nm\na.png,2\n", "missing: nm_per_px; it has file_name, px_per_nm"),
])  # fmt: skip
def test_numbers_that_may_mean_something_else_are_refused(table, text, said):
    with pytest.raises(TemDataError, match=said):
        table(text)


def test_decimal_commas_of_three_places_count(table):
    assert table("file_name;nm_per_px\na.png;1,234\nb.png;0,957\n") == {"a.png": (1.234, None), "b.png": (0.957, None)}
    assert table("file_name,nm_per_px\na.png,1.234\n") == {"a.png": (1.234, None)}


def test_calibrations_are_found_in_other_letters_and_without_suffix(read):
    found = read("A.PNG,0.5,,\nb,0.25,,\nfolder/c.tif,0.75,,\nBild_a\u0308.png,2,,\n")
    given = {"a.png": 0.5, "b.ome.tif": 0.25, "c.png": 0.75, "c.tif": 0.75, "Bild_\xe4.png": 2, "d.png": None}
    assert {name: calibration_of(found, name).nm_per_px for name in given} == given
    assert calibration_of(found, "c.png", images={"c.png", "c.tif"}) == Calibration()  # which is another image
    assert calibration_of(read("a.tif,0.5,,\na.dm3,0.6,,\n"), "a.png") == Calibration()
