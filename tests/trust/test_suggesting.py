import json

import pytest
from typer.testing import CliRunner

from tem_data.cli import app
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_table
from tem_data.trust.columns import Candidate, Candidates, candidate_of, read_candidates, write_candidates
from tem_data.trust.correction import Estimate
from tem_data.trust.micrograph import MicrographTrust, Trust
from tem_data.trust.suggesting import suggest

TRAINED = ((100.0, 0, 0, 0, 0, 0), (120.0, 0, 0, 0, 0, 0))


def candidate(name, brightness, f1, *reasons):
    return Candidate(name, f1, (float(brightness), 0, 0, 0, 0, 0), reasons)


def names(candidates, count, looks=TRAINED):
    return [s.image for s in suggest(Candidates("m", looks, tuple(candidates)), count)]


def test_of_equally_different_ones_the_doubtful_is_first():
    assert names([candidate("sure", 80, 0.9), candidate("doubtful", 140, 0.4)], 2) == ["doubtful", "sure"]


def test_of_equally_doubtful_ones_the_different_is_first():
    assert names([candidate("usual", 101, 0.5), candidate("unusual", 140, 0.5)], 2) == ["unusual", "usual"]


def test_twins_are_not_both_chosen():
    twins = [candidate("one", 150, 0.3), candidate("twin", 150, 0.3), candidate("other", 60, 0.6)]
    assert names(twins, 2) == ["one", "other"]
    assert sorted(names(twins, 9)) == ["one", "other", "twin"]


def test_without_anything_known_they_differ_from_one_another():
    several = [candidate(f"{b}", b, None) for b in (100, 101, 180, 181)]
    first, second = (int(name) for name in names(several, 2, looks=()))
    assert abs(first - second) > 50


def test_the_reason_is_in_words():
    worst, _ = suggest(
        Candidates("m", TRAINED, (candidate("a", 200, 0.3, "nothing was found"), candidate("b", 101, 0.9))), 2
    )
    assert worst.rank == 1
    assert worst.reason.startswith("expected F1_HM 0.30, among the lower half; nothing was found; looks different")


@pytest.fixture
def folder(tmp_path):
    trust = MicrographTrust(Estimate(0.6, 0.5, 0.7), {}, 1, 2.0, 1.0, (150.0, 0, 0, 0, 0, 0), ("why",))
    kept = [candidate_of("=a.png", trust), candidate_of("b.png", trust)]
    write_candidates(tmp_path, "model", Trust(("a",), 64, None, TRAINED), kept)
    return tmp_path


def test_the_command(folder):
    out = folder / "next.csv"
    result = CliRunner().invoke(app, ["suggest", str(folder), "-n", "1", "-o", str(out)])
    assert result.exit_code == 0 and "1 of 2 micrographs" in result.output and "=a.png: " in result.output
    (row,) = read_table(out, ["rank", "image", "expected_f1_hm", "reason"])
    assert row["image"] == "'=a.png" and "why" in row["reason"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "trust.json is missing; give a folder that `tem-data predict` wrote"),
        ({"model": "m", "looks": [], "micrographs": []}, "names no micrograph"),
        (
            {"model": "m", "looks": [], "micrographs": [{"image": "a"}]},
            r"micrographs\.0\.expected_f1_hm: Field required",
        ),
        ({"model": "m", "looks": [[1]], "micrographs": []}, r"looks\.0"),
        ([], "dictionary"),
    ],
)
def test_another_folder_is_one_line(tmp_path, content, told):
    if content is not None:
        (tmp_path / "trust.json").write_text(json.dumps(content))
    with pytest.raises(TemDataError, match=told):
        read_candidates(tmp_path)
