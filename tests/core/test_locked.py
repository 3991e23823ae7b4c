"""Two processes and one target, a kill at any moment, and what is on the disk when a result gets its name."""

import os
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from tem_data.core import files
from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write, locked, move, work_folder
from tests.helpers.processes import OF_THIS_CHECKOUT, permissions, umask

WRITER = """
import sys
from tem_data.core.files import atomic_write, work_folder
with {call} as draft:
    draft.mkdir(exist_ok=True)
    (draft / "half").touch()
    print("begun", flush=True)
    sys.stdin.read()
"""
REFUSED = "out: another process is writing it"


@contextmanager
def writing(call, folder, **environment):
    """Another process that is in the middle of writing `out`; it ends well when its input ends."""
    command, environment = [sys.executable, "-c", WRITER.format(call=call)], OF_THIS_CHECKOUT | environment
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as process:
        assert process.stdout.readline() == "begun\n"
        try:
            yield process
        finally:
            process.kill()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(target, *content):
    with atomic_write(target) as draft:
        draft.mkdir()
        for name in content:
            (draft / name).touch()


@pytest.fixture
def old(tmp_path):
    """A folder with an earlier result."""
    write(tmp_path / "out", "old")
    return tmp_path / "out"


def test_a_second_writer_is_refused_and_the_first_keeps_its_own(tmp_path):
    with writing("atomic_write('out')", tmp_path) as first:
        with pytest.raises(TemDataError, match=REFUSED):
            write(tmp_path / "out", "other")
        write(tmp_path / "out.csv", "of another name")
        first.communicate()
    assert first.returncode == 0
    assert names(tmp_path) == ["out", "out.csv"] and names(tmp_path / "out") == ["half"]


def test_a_folder_is_the_same_by_another_path(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with writing("atomic_write('folder/out')", tmp_path), pytest.raises(TemDataError, match=REFUSED):
        write(tmp_path / "link/out")


def test_what_a_killed_writer_left_goes_and_does_not_bar_the_next(tmp_path):
    with writing("atomic_write('out')", tmp_path) as killed:
        killed.kill()
    left = names(tmp_path)
    assert len(left) == 2 and left[-1] == ".out.lock"
    write(tmp_path / "out", "new")
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["new"]


def test_drafts_of_longer_names_stay(tmp_path):
    other = ".out.csv.0123abcd.partial"
    (tmp_path / other).touch()
    write(tmp_path / "out")
    assert names(tmp_path) == [other, "out"]


def test_threads_are_kept_apart_and_each_can_write_within_its_own_lock(tmp_path):
    said = []

    def other():
        try:
            write(tmp_path / "out", "other")
        except TemDataError as error:
            said.append(str(error))

    with locked(tmp_path / "out"):
        write(tmp_path / "out", "mine")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(said) == 1 and names(tmp_path) == ["out"] and names(tmp_path / "out") == ["mine"]


def test_a_work_folder_is_of_one_run(tmp_path):
    with writing("work_folder('out', {})", tmp_path):
        before = {path: path.is_file() for path in tmp_path.rglob("*")}
        with pytest.raises(TemDataError, match=REFUSED), work_folder(tmp_path / "out", {"other": 1}):
            pytest.fail("it would be shared")
        assert {path: path.is_file() for path in tmp_path.rglob("*")} == before
    with work_folder(tmp_path / "out", {}) as work:
        assert names(work) == ["half"], "a killed run goes on"


def test_processes_of_one_launch_share_the_work_folder(tmp_path, monkeypatch):
    with writing("work_folder('out', {})", tmp_path, RANK="0") as main:
        monkeypatch.setenv("RANK", "1")
        with work_folder(tmp_path / "out", {}) as work:
            assert names(work) == ["half"]
        assert names(work) == ["half"]
        main.communicate()
    assert main.returncode == 0 and names(tmp_path) == []


def test_a_result_that_cannot_take_its_place_leaves_the_former(old, monkeypatch):
    rename = os.replace

    def fail(source, target):
        if str(source).endswith(".partial"):
            raise OSError("no more room")
        rename(source, target)

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="no more room"):
        write(old, "new")
    assert names(old.parent) == ["out"] and names(old) == ["old"]


def test_a_kill_between_the_renames_is_made_good(old):
    kill = "import os, sys\nfrom tem_data.core import files\nrename = os.replace\n"
    kill += "def replace(source, target):\n    if str(source) == 'new': os.kill(os.getpid(), 9)\n"
    kill += "    rename(source, target)\nfiles.os.replace = replace\nfiles.move('new', 'out')\n"
    (old.parent / "new").mkdir()
    assert subprocess.run([sys.executable, "-c", kill], cwd=old.parent, env=OF_THIS_CHECKOUT).returncode == -9
    assert names(old.parent) == [".out.lock", ".out.old", "new"]
    with pytest.raises(KeyboardInterrupt), atomic_write(old):
        raise KeyboardInterrupt
    assert names(old.parent) == ["new", "out"] and names(old) == ["old"]


def test_all_of_it_is_on_the_disk_before_it_has_the_name(old, monkeypatch):
    done = []
    flush, rename = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda f: (done.append(os.readlink(f"/proc/self/fd/{f}")), flush(f)))
    monkeypatch.setattr(files.os, "replace", lambda a, b: (done.append(str(b)), rename(a, b)))
    with atomic_write(old) as draft:
        (draft / "inner").mkdir(parents=True)
        (draft / "inner/a").write_text("a")
        (draft / "b").write_text("b")
    placed = done.index(str(old))
    assert {str(draft), *(f"{draft}/{name}" for name in ("b", "inner", "inner/a"))} <= {*done[:placed]}
    assert done[placed + 1 :] == [str(old.parent)]


def test_what_cannot_be_flushed_is_not_placed(old, monkeypatch):
    def full(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write(old, "new")
    assert names(old) == ["old"]


@pytest.mark.parametrize("mask, file, folder", [(0o022, 0o644, 0o755), (0o007, 0o660, 0o770), (0o077, 0o600, 0o700)])
def test_permissions_are_those_of_the_umask(tmp_path, mask, file, folder):
    with umask(mask):
        with atomic_write(tmp_path / "out") as draft:
            draft.mkdir(mode=0o700)
            (draft / "model").touch(mode=0o600)
        with atomic_write(tmp_path / "alone") as draft:
            draft.touch(mode=0o600)
        assert os.umask(mask) == mask, "it is as it was"
    assert permissions(tmp_path / "out") == {(False, file), (True, folder)}
    assert permissions(tmp_path / "alone") == {(False, file)}


def test_a_folder_that_a_group_shares_stays_shared(tmp_path):
    tmp_path.chmod(0o2775)
    write(tmp_path / "out")
    assert (tmp_path / "out").stat().st_mode & stat.S_ISGID


def test_a_moved_work_folder_is_treated_alike(old):
    (old.parent / "work").mkdir(mode=0o700)
    (old.parent / "work/shard").touch(mode=0o600)
    for left in (".shard.lock", ".shard.0123abcd.partial/x", ".shard.old/y"):  # by a kill after a shard had its name
        (old.parent / "work" / left).parent.mkdir(exist_ok=True)
        (old.parent / "work" / left).touch()
    with umask(0o022):
        move(old.parent / "work", old)
    assert names(old) == ["shard"]
    assert permissions(old) == {(False, 0o644), (True, 0o755)} and names(old.parent) == ["out"]
