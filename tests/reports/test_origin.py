import subprocess
from importlib.metadata import version

import pytest

from tem_data.reports.origin import Origin, code_version


def git(*command):
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *who, *command], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A git project with code and a result, each committed on its own."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    for name, day in (("tem_data/code.py", "2026-03-01"), ("results.json", "2026-03-02")):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"{day}T12:00:00+00:00")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
        git("add", name)
        git("commit", "-qm", name)
    return tmp_path


def test_a_commit_of_results_does_not_change_what_a_report_says_of_the_code(project):
    said = code_version(["tem_data"])
    assert said.startswith("commit ") and said.endswith(" of 2026-03-01")
    (project / "results.json").write_text("2")
    assert code_version(["tem_data"]) == said
    (project / "tem_data/code.py").write_text("2")
    assert code_version(["tem_data"]) == f"{said}, and changes that are not committed"


def test_without_git_the_version_of_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert code_version() == f"tem_data {version('tem_data')}"
    monkeypatch.setenv("PATH", "")
    assert code_version() == f"tem_data {version('tem_data')}"


def test_all_settings_that_bear_on_results_are_listed():
    settings = {"profile": "toy", "ldm": {"steps": 350, "sizes": [1, 2], "mask": None}, "cards": {"license": "MIT"}}
    origin = Origin(settings, simulated=False)
    (table,) = origin.section.tables
    assert table.folded and {row["setting"]: row["value"] for row in table.rows} == {
        "ldm.steps": "350",
        "ldm.sizes": "1, 2",
        "ldm.mask": "–",
    }
    assert origin.facts["Profile"] == "toy" and "real" in origin.facts["Micrographs"]
