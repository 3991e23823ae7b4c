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
