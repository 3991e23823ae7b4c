"""dvc.yaml from end to end on tiny simulated micrographs, and what a kill -9 does to it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset
from dvc.utils.hydra import compose_and_dump

from tem_data.core.files import read_table
from tem_data.core.micrograph import Micrograph
from tem_data.core.schema import read_dataset
from tem_data.study.arms import ARMS
from tests.helpers.processes import contents

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CELL = "1-4-1"


def compose(path: Path, *overrides: str) -> dict:
    compose_and_dump(path, str(ROOT / "conf"), None, "config", "", list(overrides))
    return yaml.safe_load(path.read_text())


def run(project: Path, *command: str) -> subprocess.CompletedProcess:
    bin_first = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=project, env=bin_first, capture_output=True, text=True)


def results(project: Path) -> Path:
    return project / "results/runs" / CELL


def pairs_of(project: Path, arm: str) -> list[Micrograph]:
    return list(read_dataset(project / "runs" / CELL / "pairs" / arm, "train"))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project in which `dvc repro` has run one cell of the toy profile."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("tem_data", "pipelines", "cards/templates", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", folder)
    compose(folder / "params.yaml", "profile=toy", "study.cells=[1-4]", "study.runs=[1]")
    assert run(folder, "dvc", "init", "--no-scm", "-q").returncode == 0
    done = run(folder, "dvc", "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def test_repro_ends_with_metrics_pictures_and_cards(project):
    metrics = {arm: json.loads((results(project) / arm / "metrics.json").read_text()) for arm in ARMS}
    for scores in metrics.values():
        assert 0 <= scores["f1_hm"] <= 1
        assert scores["truths"] == metrics["exp"]["truths"] > 0
    for picture in (f"runs/{CELL}/contact_sheet.png", f"results/figures/{CELL}.png", f"runs/{CELL}/figures/parity.png"):
        assert (project / picture).read_bytes().startswith(b"\x89PNG")
    detector_card = (project / "cards/rendered/detector.md").read_text()
    assert "Simulated" in detector_card and f"{metrics['exp']['f1_hm']:.3f}" in detector_card


def test_all_arms_share_all_but_the_pairs_they_add(project):
    runs = project / "runs" / CELL
    added = {arm: pairs_of(project, arm) for arm in ("exp_gen", "exp_paint", "exp_copypaste")}
    assert [len(pairs) for pairs in added.values()] == [24, 24, 24]
    assert {p.origin for p in added["exp_gen"]} == {"gen"}
    assert {p.origin for p in added["exp_paint"]} == {"paint"}
    assert {p.origin for p in added["exp_copypaste"]} == {"copypaste"}
    greys = {re.search(r"PIXEL_MEAN:(\s*- [\d.]+)+", (runs / arm / "config.yaml").read_text())[0] for arm in ARMS}
    assert len(greys) == 1


def test_pictures_are_compared_with_real_ones(project):
    text = (results(project) / "fidelity.json").read_text()
    found = json.loads(text, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
    assert {kind: held["pairs"] for kind, held in found["adherence"].items()} == {
        "real": 24,
        "reconstructed": 24,
        "generated": 24,
    }
    judged = read_table(project / "runs" / CELL / "fidelity/adherence.csv")
    assert [row["micrograph_id"] for row in judged if row["kind"] == "generated"] == [
        pair.micrograph_id for pair in pairs_of(project, "exp_gen")
    ]
    card = (project / "cards/rendered/ldm.md").read_text()
    (line,) = [line for line in card.splitlines() if line.startswith("| 1 | 4 | 1 |") and line.count("|") > 8]
    ratio = found["pictures"]["memorisation"]["generated"]["ratio_median"]
    assert f"| {ratio:.3f} |" in line
    assert "Generated pictures" in (project / "runs" / CELL / "report.html").read_text()


def test_the_study_holds_one_line_a_run_and_arm(project):
    rows = read_table(project / "results/study/scores.csv")
    assert [(row["run"], row["arm"]) for row in rows] == [("1", name) for name in ARMS.values()]
    assert all(int(row["training_defects"]) > 0 for row in rows)
    gains = read_table(project / "results/study/gains.csv")
    assert {row["pairs"] for row in gains} == {"1"} and not any(row["p"] for row in gains)
    for row in gains:
        arms = {r["arm"]: float(r[row["score"]]) for r in rows}
        assert float(row["gain_mean"]) == pytest.approx(arms[row["arm"]] - arms["EXP"])


def test_reports_open_without_a_server(project):
    for page in (f"runs/{CELL}/report.html", f"runs/{CELL}/fidelity/report.html", "runs/study.html"):
        text = (project / page).read_text()
        assert "<table" in text and "data:image/svg+xml" in text and "simulated" in text.lower()
        assert not re.findall('src="(?!data:)', text)
        for link in re.findall('href="([^#"][^"]*)"', text):
            assert (project / page).parent.joinpath(link).is_file(), f"{page}: {link}"


def test_repro_again_runs_nothing(project):
    done = run(project, "dvc", "repro")
    assert done.returncode == 0 and "Running stage" not in done.stdout


def test_metrics_and_plots_show(project):
    shown = run(project, "dvc", "metrics", "show")
    assert all(arm in shown.stdout for arm in ARMS.values())
    assert max(map(len, shown.stdout.splitlines())) <= 120
    assert max(map(len, run(project, "dvc", "stage", "list").stdout.splitlines())) <= 120
    assert run(project, "dvc", "plots", "show").returncode == 0
    page = (project / "dvc_plots" / "index.html").read_text()
    assert "contact_sheet.png" in page and "vega" in page


def test_predictions_are_plain_coco(project):
    metrics = json.loads((results(project) / "exp/metrics.json").read_text())
    truth, found = project / "data/1-4/truth.json", project / "runs" / CELL / "found/exp/test.json"
    command = [sys.executable, "-m", "tem_data.cli", "score", str(truth), str(found), "--json"]
    done = run(project, *command, "--thresholds", str(metrics["threshold_from_validation"]))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"][0]["f1_hm"] == pytest.approx(metrics["f1_hm"])


def test_generated_pairs_load_and_say_where_they_come_from(project, tmp_path):
    pairs = load_dataset(str(project / "runs" / CELL / "pairs/exp_gen"), split="train", cache_dir=str(tmp_path))
    masks = load_dataset(str(project / "runs" / CELL / "masks"), split="train", cache_dir=str(tmp_path))
    assert len(pairs) == len(masks) == 24
    assert set(pairs["origin"]) == {"gen"} and len(set(pairs["seed"])) == 24 and len(set(pairs["checkpoint"])) == 1
    assert pairs["micrograph_id"] == masks["micrograph_id"] and pairs[0]["image"].size == (64, 64)


@pytest.mark.parametrize(
    ("module", "output", "progress"),
    [
        ("train_ldm", "ldm", "checkpoint-*"),
        ("generate", "pairs/exp_gen", "data/train-*.parquet"),
        ("paint", "pairs/exp_paint", "data/train-*.parquet"),
    ],
)
def test_kill_9_and_again_gives_the_same_bytes(project, module, output, progress):
    target = project / "runs" / CELL / output
    uninterrupted = contents(target)
    shutil.rmtree(target)
    command = [sys.executable, "-m", f"pipelines.{module}", CELL]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work = target.with_name(f".{target.name}.work")
    deadline = time.monotonic() + 120
    while not list(work.glob(f"*/{progress}")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert list(work.glob(f"*/{progress}")) and not target.exists()
    again = run(project, *command)
    assert again.returncode == 0, again.stderr[-2000:]
    assert contents(target) == uninterrupted
    assert not work.exists()


def test_a_killed_comparison_of_pictures_leaves_nothing_half_written(project):
    target = project / "runs" / CELL / "fidelity"
    kept = target.rename(target.with_name("kept"))
    command = [sys.executable, "-m", "pipelines.fidelity", CELL]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun, deadline = ".fidelity.*.partial/adherence.csv", time.monotonic() + 120
    while not list(target.parent.glob(begun)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    (half,) = target.parent.glob(begun)
    assert not target.exists()
    kept.rename(target)
    shutil.rmtree(half.parent)
    target.with_name(".fidelity.lock").unlink()


def test_params_are_the_quick_profile(tmp_path):
    assert compose(tmp_path / "params.yaml") == yaml.safe_load((ROOT / "params.yaml").read_text())


def test_dag_of_the_paper_profile_holds_every_cell(project, tmp_path):
    for name in ("tem_data", "pipelines", "cards/templates", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    compose(tmp_path / "params.yaml", "profile=paper")
    assert run(tmp_path, "dvc", "init", "--no-scm", "-q").returncode == 0
    dag = run(tmp_path, "dvc", "dag", "--dot")
    assert dag.returncode == 0, dag.stderr
    stages = {"train_detector_exp": [""], "train_ldm": ["-ldm"], "copy_paste": ["-exp_copypaste"]}
    stages |= {"fidelity": ["-exp_gen"], "paint": ["-exp_paint"]}
    stages |= {"train_detector": [f"-{arm}" for arm in ARMS if arm != "exp"], "evaluate": [f"-{arm}" for arm in ARMS]}
    for stage, arms in stages.items():
        cells = [f"{k}-{n}-{r}{arm}" for k in (1, 2) for n in (10, 50, 100) for r in (1, 2, 3, 4) for arm in arms]
        assert all(f'"{stage}@{cell}"' in dag.stdout for cell in cells)
    assert all(f'"train_judges@{k}-{n}-ldm"' in dag.stdout for k in (1, 2) for n in (10, 50, 100))


def test_a_study_is_extended_by_what_is_new_alone(project):
    """Last, as it changes the project: another run, without the arm that needs the LDM."""
    compose(project / "params.yaml", "profile=toy", "study.cells=[1-4]", "study.runs=[1,2]", "arms=exp_copypaste")
    done = run(project, "dvc", "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    ran = re.findall("Running stage '(.*)'", done.stdout)
    trained = {"copy_paste@1-4-2-exp_copypaste", "train_detector_exp@1-4-2", "train_detector@1-4-2-exp_copypaste"}
    evaluated = {f"{stage}@1-4-2-{arm}" for stage in ("predict", "evaluate") for arm in ("exp", "exp_copypaste")}
    evaluated |= {"report@1-4-1", "report@1-4-2"}
    assert set(ran) == trained | evaluated | {"study", "cards"}
    gains = read_table(project / "results/study/gains.csv")
    assert {(row["arm"], row["pairs"]) for row in gains} == {("EXP+CP", "2")}
