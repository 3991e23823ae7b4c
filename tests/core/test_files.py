import pytest

from tem_data.core.errors import TemDataError
from tem_data.core.files import (
    atomic_write,
    fingerprint,
    move,
    read_json,
    read_numbers,
    read_table,
    work_folder,
    write_json,
    write_table,
)


def test_a_file_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with atomic_write(target) as draft:
        draft.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new" and [p.name for p in target.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("folder", [False, True])
def test_a_failure_keeps_the_old_and_leaves_nothing(tmp_path, folder):
    target = tmp_path / "out"
    for content, fails in (("old", False), ("new", True)):
        try:
            with atomic_write(target) as draft:
                if folder:
                    draft.mkdir()
                (draft / "a" if folder else draft).write_text(content)
                if fails:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    assert (target / "a" if folder else target).read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_takes_the_place_of_a_folder_and_of_what_a_killed_run_left(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()
    for killed in (".out.0123abcd.partial", ".out.old"):
        (tmp_path / killed).mkdir()
        (tmp_path / killed / "rest").touch()
    with atomic_write(tmp_path / "out") as draft:
        draft.mkdir()
        (draft / "new").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "new"]


@pytest.mark.parametrize("target", [".", "..", "/", "a/.."])
def test_folders_without_a_name_of_their_own_are_never_replaced(target):
    with pytest.raises(TemDataError, match="name"), atomic_write(target):
        pytest.fail("it would be replaced")


def test_fingerprints_follow_settings_contents_and_names(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("1")
    prints = [fingerprint({"x": 1, "y": 2}, data)]
    assert fingerprint({"y": 2, "x": 1}, data) == prints[0]
    prints.append(fingerprint({"x": 1, "y": 3}, data))
    (data / "b").write_text("1")
    prints.append(fingerprint({"x": 1, "y": 2}, data))
    (data / "b").rename(data / "c")
    prints.append(fingerprint({"x": 1, "y": 2}, data))
    (data / "c").write_text("2")
    prints.append(fingerprint({"x": 1, "y": 2}, data))
    assert len(set(prints)) == len(prints)
    (data / "c").unlink()
    assert fingerprint({"x": 1, "y": 2}, data) == prints[0]


def test_inputs_that_are_not_there_are_named(tmp_path):
    with pytest.raises(TemDataError, match="gone"):
        fingerprint({}, tmp_path / "gone")


def test_a_work_folder_is_kept_on_failure_and_goes_on_success(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(ZeroDivisionError), work_folder(target, {"a": 1}) as work:
        (work / "state").touch()
        raise ZeroDivisionError
    with work_folder(target, {"a": 1}) as work:
        assert (work / "state").exists()
    assert not list(tmp_path.iterdir())


def test_other_settings_throw_the_work_away(tmp_path):
    with pytest.raises(ZeroDivisionError), work_folder(tmp_path / "out", {"a": 1}) as work:
        (work / "state").touch()
        raise ZeroDivisionError
    with work_folder(tmp_path / "out", {"a": 2}) as other:
        assert not work.exists() and not (other / "state").exists()


def test_json_and_tables_round_trip(tmp_path):
    write_json(tmp_path / "a.json", {"µ": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"µ": [1, 2.5, None]}
    write_table(tmp_path / "a.csv", [{"name": 'a, "b"\nc', "n": 1}], ["name", "n"])
    assert read_table(tmp_path / "a.csv") == [{"name": 'a, "b"\nc', "n": "1"}]
    write_table(tmp_path / "a.csv", [], ["name", "n"])
    assert (tmp_path / "a.csv").read_text() == "name,n\n" and read_table(tmp_path / "a.csv") == []


def test_json_that_others_cannot_read_is_not_written(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("read, kind", [(read_json, "not a JSON"), (read_table, "expected a CSV")])
def test_files_that_cannot_be_read_are_named(tmp_path, read, kind):
    with pytest.raises(TemDataError, match="gone.*No such file"):
        read(tmp_path / "gone")
    (tmp_path / "b").write_bytes(b"\xff\xfe{")
    with pytest.raises(TemDataError, match=f"b: {kind}"):
        read(tmp_path / "b")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"id": ' + "9" * 5000 + "}", "\ufeff{"])
def test_json_that_cannot_be_held_is_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(TemDataError, match="a.json: not a JSON file this can read"):
        read_json(tmp_path / "a.json")


def test_a_byte_order_mark_is_no_fault(tmp_path):
    (tmp_path / "a.json").write_text('{"µ": 1}', encoding="utf-8-sig")
    (tmp_path / "a.csv").write_text("µ\n1\n", encoding="utf-8-sig")
    assert read_json(tmp_path / "a.json") == {"µ": 1} and read_table(tmp_path / "a.csv") == [{"µ": "1"}]


@pytest.mark.parametrize(
    "text, said",
    [
        ("file,nm\na.png,0.5\nb.png,0,5\n", "row 3: expected a cell for each of the 2 columns, found 3"),
        ("file,nm\na.png,1,\n", "row 2: .*found 3"),
        ("file,nm\n\n\na.png\n", "row 4: .*found 1"),
        ("nm,file,nm\n1,a.png,2\n", "two columns are named 'nm'"),
        ("nm\n1\n", "expected the columns file; missing: file"),
        ("", "missing: file"),
    ],
)
def test_tables_whose_cells_have_no_sure_column_are_refused(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(TemDataError, match=f"a.csv.*{said}"):
        read_table(tmp_path / "a.csv", ["file"])


def test_blank_lines_and_columns_without_a_name_are_no_fault(tmp_path):
    (tmp_path / "a.csv").write_text('file,nm,,\n"a, b",1,,\n\n  \n,2,,\n')
    rows = read_table(tmp_path / "a.csv", ["file"])
    assert [(row["file"], row["nm"]) for row in rows] == [("a, b", "1"), ("", "2")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_tables_of_any_encoding_and_mark_between_cells(tmp_path, encoding):
    for text in ("\nname ;µ\nä;1,5\n", "sep=\t\r\nname\tµ\r\nä\t1,5\r\n", 'name,µ\rä,"1,5"\r'):
        (tmp_path / "a.csv").write_bytes(text.encode(encoding))
        assert read_table(tmp_path / "a.csv", ["name"]) == [{"name": "ä", "µ": "1,5"}]


def test_move_leaves_either_the_old_or_the_new_folder(tmp_path):
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    move(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "content").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("part, matters", [("training", True), ("detection", True), ("cards", False)])
def test_partial_work_of_other_code_is_thrown_away_where_the_code_matters(tmp_path, monkeypatch, part, matters):
    package = tmp_path / "package"
    (package / part).mkdir(parents=True)
    monkeypatch.setattr("tem_data.core.files.PACKAGE", package)
    for code, kept in (("1", False), ("1", True), ("2", not matters)):
        (package / part / "code.py").write_text(code)
        with pytest.raises(KeyboardInterrupt), work_folder(tmp_path / "out", {}) as work:
            assert (work / "half").exists() == kept
            (work / "half").touch()
            raise KeyboardInterrupt


def test_numbers_of_a_table_are_numbers_and_what_is_empty_is_none(tmp_path):
    write_table(tmp_path / "t.csv", [{"class": "100", "size": 2.5}, {"class": "", "size": None}], ["class", "size"])
    rows = read_numbers(tmp_path / "t.csv", ["class"])
    assert rows == [{"class": "100", "size": 2.5}, {"class": "", "size": None}]
    with pytest.raises(TemDataError, match="t.csv row 2: class: expected a number, found 'x'"):
        write_table(tmp_path / "t.csv", [{"class": "x"}], ["class"])
        read_numbers(tmp_path / "t.csv", [])
