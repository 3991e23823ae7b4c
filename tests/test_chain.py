"""dvc.yaml from end to end on tiny simulated micrographs, and what a kill -9 does to it."""

import json
import os
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

ROOT = Path(__file__).resolve().parents[1]
CELL = "1-4-1"
TINY = [
    "import.builtin.count=6",
    "import.builtin.size_px=192",
    "split.test=2",
    "split.validation=1",
    "study.sizes=[4]",
    "patch.size=64",
    "patch.count=24",
    "autoencoder.steps=4",
    "autoencoder.width=8",
    "ldm.block_out_channels=[16,32]",
    "ldm.attention=[false,false]",
    "ldm.steps=12",
    "ldm.batch_size=4",
    "ldm.checkpointing_steps=2",
    "ldm.validation_steps=6",
    "generate.num_inference_steps=2",
    "generate.shard_rows=4",
    "generate.batch_size=4",
    "detector.iterations=2",
    "detector.batch_size=2",
    "evaluate.thresholds=[0.0,0.05,0.5]",
]
TINY_DETECTOR = {
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 32,
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
}


def compose(path: Path, *overrides: str) -> dict:
    compose_and_dump(path, str(ROOT / "conf"), None, "config", "", list(overrides))
    return yaml.safe_load(path.read_text())


def run(project: Path, *command: str) -> subprocess.CompletedProcess:
    bin_first = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=project, env=bin_first, capture_output=True, text=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project with tiny settings in which `dvc repro` has run."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("tem_data", "pipelines", "cards/templates", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", folder)
    params = compose(folder / "params.yaml", *TINY)
    params["detector"]["config"] |= TINY_DETECTOR
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert run(folder, "dvc", "init", "--no-scm", "-q").returncode == 0
    done = run(folder, "dvc", "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def test_repro_ends_with_metrics_pictures_and_cards(project):
    metrics = json.loads((project / "results" / CELL / "metrics.json").read_text())
    for arm in ("exp", "exp_gen"):
        assert 0 <= metrics[arm]["f1_hm"] <= 1
        assert metrics[arm]["truths"] > 0
    assert metrics["gain"]["f1_hm"] == pytest.approx(metrics["exp_gen"]["f1_hm"] - metrics["exp"]["f1_hm"])
    for picture in (f"runs/{CELL}/contact_sheet.png", f"results/{CELL}/sweep.png"):
        assert (project / picture).read_bytes().startswith(b"\x89PNG")
    detector_card = (project / "cards/rendered/detector.md").read_text()
    assert "Simulated" in detector_card and f"{metrics['exp']['f1_hm']:.3f}" in detector_card


def test_repro_again_runs_nothing(project):
    done = run(project, "dvc", "repro")
    assert done.returncode == 0 and "Running stage" not in done.stdout


def test_metrics_and_plots_show(project):
    shown = run(project, "dvc", "metrics", "show", "--json")
    assert CELL in shown.stdout and "f1_hm" in shown.stdout
    assert run(project, "dvc", "plots", "show").returncode == 0
    page = (project / "dvc_plots" / "index.html").read_text()
    assert "contact_sheet.png" in page and "vega" in page


def test_predictions_are_plain_coco(project):
    folder = project / "runs" / CELL / "predictions"
    metrics = json.loads((project / "results" / CELL / "metrics.json").read_text())["exp"]
    command = [sys.executable, "-m", "tem_data.cli", "score", f"{folder}/truth.json", f"{folder}/exp.json", "--json"]
    done = run(project, *command, "--thresholds", str(metrics["threshold_from_validation"]))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"][0]["f1_hm"] == pytest.approx(metrics["f1_hm"])


def test_generated_pairs_load_and_say_where_they_come_from(project, tmp_path):
    pairs = load_dataset(str(project / "runs" / CELL / "generated"), split="train", cache_dir=str(tmp_path))
    masks = load_dataset(str(project / "runs" / CELL / "masks"), split="train", cache_dir=str(tmp_path))
    assert len(pairs) == len(masks) == 24
    assert set(pairs["origin"]) == {"gen"} and len(set(pairs["seed"])) == 24 and len(set(pairs["checkpoint"])) == 1
    assert pairs["micrograph_id"] == masks["micrograph_id"] and pairs[0]["image"].size == (64, 64)


@pytest.mark.parametrize(
    ("module", "output", "progress"),
    [("train_ldm", "ldm", "checkpoint-*"), ("generate", "generated", "data/train-*.parquet")],
)
def test_kill_9_and_again_gives_the_same_bytes(project, module, output, progress):
    target = project / "runs" / CELL / output
    uninterrupted = contents(target)
    shutil.rmtree(target)
    command = [sys.executable, "-m", f"pipelines.{module}", "--split", "1", "--size", "4", "--run", "1"]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work = target.with_name(f".{output}.work")
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
    for stage in ("sample_masks", "train_ldm", "generate", "train_detector_exp", "train_detector_exp_gen", "evaluate"):
        cells = [f"{stage}@{k}-{n}-{r}" for k in (1, 2) for n in (10, 50, 100) for r in (1, 2, 3, 4)]
        assert all(f'"{cell}"' in dag.stdout for cell in cells)
