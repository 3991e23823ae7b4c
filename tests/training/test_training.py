"""The training loop on models of a few weights, some of which walk where one can say beforehand what will happen."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tem_data.core.errors import TemDataError
from tem_data.training import tracking
from tem_data.training.averaged import evenly_spaced, fit_averaged, learning_rate, stop_reason
from tem_data.training.settings import TrainingSettings
from tests.helpers.processes import Killed, killer, run_in_two_processes

TINY = dict(
    steps=10, batch_size=4, learning_rate=1e-2, warmup_steps=2, ema_decay=0.9, checkpointing_steps=3, validation_steps=4
)


def noisy_images(rng: np.random.Generator, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    clean = np.sin(np.linspace(0, 6, 64, dtype=np.float32).reshape(1, 1, 8, 8) * rng.random((n, 1, 1, 1), np.float32))
    noise = rng.standard_normal(clean.shape, dtype=np.float32)
    return torch.from_numpy(clean), torch.from_numpy(clean + noise)


def batch_loss(model: nn.Module, rng: np.random.Generator, step: int, part: slice) -> dict[str, torch.Tensor]:
    clean, noisy = (images[part].to(next(model.parameters()).device) for images in noisy_images(rng, 4))
    return {"loss": ((model(noisy).float() - clean) ** 2).mean()}


def validate(model: nn.Module) -> dict[str, float]:
    return {"val_loss": batch_loss(model, np.random.default_rng(99), 0, slice(None))["loss"].item()}


def train_tiny(workdir, callback=None, sample=None, **changes) -> tuple[nn.Module, list]:
    """A denoiser of two convolutions."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 3, padding=1))
    settings = TrainingSettings(**(TINY | changes))
    return fit_averaged(model, batch_loss, validate, settings, workdir, 5, callback, section="toy", sample=sample)


class Walk(nn.Module):
    """One weight, which the loss pushes up by the learning rate in each step."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self) -> torch.Tensor:
        return self.weight.sum()


def train_walk(workdir, callback=None, sample=None, **changes) -> tuple[Walk, list]:
    """The weight is about 0.1 · step, and `val_loss` is lowest where it is 0.5."""
    settings = TINY | dict(steps=40, learning_rate=0.1, warmup_steps=0, weight_decay=0.0, ema_decay=0.0)
    settings = TrainingSettings(**(settings | dict(validation_steps=1) | changes))

    def up(model: nn.Module, rng: np.random.Generator, step: int, part: slice) -> dict[str, torch.Tensor]:
        return {"loss": -model()}

    def distance(model: Walk) -> dict[str, float]:
        return {"val_loss": abs(model().item() - 0.5)}

    return fit_averaged(Walk(), up, distance, settings, workdir, 0, callback, section="toy", sample=sample)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_learning_rate_rises_and_falls_to_zero():
    settings = TrainingSettings(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(step, settings) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[10] == 1.0 and rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0)


@given(st.integers(1, 500), st.integers(2, 100))
def test_evenly_spaced_indices(n, wanted):
    chosen = evenly_spaced(n, wanted)
    assert len(chosen) == min(n, wanted) and chosen[0] == 0
    assert chosen[-1] == n - 1


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(gradient_accumulation_steps=3), "toy.batch_size: 4 is no multiple"),
        (dict(min_memorisation_ratio=0.8), "set sample_steps"),
        (dict(mixed_precision="half"), "mixed_precision: expected one of no, fp16, bf16, found 'half'"),
        (dict(report_to=["wandb"]), "report_to.0: expected one of tensorboard, dvclive, found 'wandb'"),
        (dict(report_to="tensorboard"), "report_to: expected a list, each one of tensorboard, dvclive"),
    ],
)
def test_settings_that_cannot_be_had(tmp_path, changes, message):
    with pytest.raises(TemDataError, match=message):
        train_tiny(tmp_path, **changes)


def test_a_loss_that_is_not_finite_is_named(tmp_path):
    def infinite(model, rng, step, part):
        return {"loss": model() * float("inf")}

    settings = TrainingSettings(**TINY)
    with pytest.raises(TemDataError, match="toy.learning_rate: the loss of step 1 is nan; lower it"):
        fit_averaged(Walk(), infinite, lambda model: {}, settings, tmp_path, 0, section="toy")
    with pytest.raises(TemDataError, match="{'memorisation_ratio': inf}; expected finite numbers"):
        train_tiny(tmp_path, sample=lambda model, step: {"memorisation_ratio": float("inf")}, sample_steps=1)


GOLDEN = [0.498739, 0.486068, 0.476665, 0.340406, 0.190088, 0.329781, 0.224166, 0.260588, 0.183612, 0.275862]


def test_golden_losses(tmp_path):
    """A change of these numbers is a change of training; 1e-4 leaves room for other processors."""
    _, history = train_tiny(tmp_path)
    assert [row["loss"] for row in history] == pytest.approx(GOLDEN, rel=1e-4)


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path):
    whole, history = train_tiny(tmp_path / "whole")
    parts, parts_history = train_tiny(tmp_path / "parts", gradient_accumulation_steps=2)
    assert [row["loss"] for row in parts_history] == pytest.approx([row["loss"] for row in history], rel=1e-5)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_two_trainings_in_one_process_differ_in_precision(tmp_path):
    (_, single), (_, half) = (train_tiny(tmp_path / name, steps=1, mixed_precision=name) for name in ("no", "bf16"))
    assert half[0]["loss"] != single[0]["loss"]
    assert half[0]["loss"] == pytest.approx(single[0]["loss"], rel=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 works on a GPU")
def test_fp16_needs_a_gpu(tmp_path):
    with pytest.raises(TemDataError, match="fp16 needs a GPU"):
        train_tiny(tmp_path, mixed_precision="fp16")


def draw_sheet(folder: Path):
    """A sampler that uses torch's global random numbers."""

    def sample(model: nn.Module, step: int) -> dict[str, float]:
        folder.mkdir(exist_ok=True)
        (folder / f"{step}.txt").write_text("a sheet")
        return {"memorisation_ratio": model(torch.randn(1, 1, 8, 8)).std().item()}

    return sample


@pytest.mark.parametrize("precision", ["no", "bf16"] + ["fp16"] * torch.cuda.is_available())
def test_killed_training_ends_with_the_same_bytes(tmp_path, precision):
    changes = dict(steps=11, sample_steps=5, mixed_precision=precision)
    whole, history = train_tiny(tmp_path / "whole", sample=draw_sheet(tmp_path / "a"), **changes)
    for step in (1, 5, 6, 10):
        with pytest.raises(Killed):
            train_tiny(tmp_path / "killed", killer(step), sample=draw_sheet(tmp_path / "b"), **changes)
    half = tmp_path / "killed/.checkpoint-11.partial"  # as a kill while saving leaves it
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    resumed, resumed_history = train_tiny(tmp_path / "killed", sample=draw_sheet(tmp_path / "b"), **changes)
    assert resumed_history == history and [row["step"] for row in history] == list(range(1, 12))
    assert [row["step"] for row in history if "val_loss" in row] == [4, 8, 11]
    assert [row["step"] for row in history if "memorisation_ratio" in row] == [5, 10, 11]
    assert same_weights(whole, resumed)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["10.txt", "11.txt", "5.txt"]
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["checkpoint-11", "checkpoint-9"]
    for name in ("model.safetensors", "history.json"):
        one, other = (tmp_path / kind / "checkpoint-11" / name for kind in ("whole", "killed"))
        assert one.read_bytes() == other.read_bytes()


def test_the_last_checkpoints_stay(tmp_path):
    train_tiny(tmp_path, checkpointing_steps=2, checkpoints_total_limit=3)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-6", "checkpoint-8", "checkpoint-10"}


def test_other_settings_do_not_resume(tmp_path):
    train_tiny(tmp_path, steps=2)
    with pytest.raises(TemDataError, match=r"checkpoint-2: made with another \['learning_rate', 'patience'\]"):
        train_tiny(tmp_path, steps=2, learning_rate=1e-4, patience=3)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin", "parts.pt", "history.json"])
def test_a_truncated_checkpoint_is_explained(tmp_path, name):
    whole, _ = train_tiny(tmp_path, steps=4)
    file = tmp_path / "checkpoint-4" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(TemDataError, match="checkpoint-4: cannot be read .*; delete it") as caught:
        train_tiny(tmp_path, steps=4)
    assert "\n" not in str(caught.value)
    shutil.rmtree(tmp_path / "checkpoint-4")
    assert same_weights(train_tiny(tmp_path, steps=4)[0], whole)


def rows(*values: dict[str, float]) -> list[dict]:
    return [{"step": step, "loss": 1.0, **row} for step, row in enumerate(values, 1)]


@pytest.mark.parametrize(
    "history, reason",
    [
        (rows({}), None),
        (rows({"val_psnr": 9}, {"val_psnr": 8}, {"val_psnr": 7}), None),
        (rows({"val_loss": 3}, {"val_loss": 2}, {}, {"val_loss": 2}), None),
        (
            rows({"val_loss": 3}, {"val_loss": 2}, {}, {"val_loss": 2}, {"val_loss": 4}),
            "val_loss has not improved for 2 validations; the weights are those of step 2",
        ),
        (rows({"val_loss": 2}, {"val_loss": 3}, {"val_loss": 1}), None),
        (rows({"val_loss": 2}, {"val_loss": 1, "memorisation_ratio": 0.8}), None),
        (
            rows({"val_loss": 2}, {}, {"val_loss": 1, "memorisation_ratio": 0.7}),
            "memorisation_ratio 0.7 is below 0.8; the weights are those of step 1",
        ),
        (rows({"memorisation_ratio": 0.7}), "memorisation_ratio 0.7 is below 0.8; the weights are those of step 1"),
    ],
)
def test_why_a_training_stops(history, reason):
    assert stop_reason(history, TrainingSettings(steps=9, patience=2, min_memorisation_ratio=0.8)) == reason
    assert stop_reason(history, TrainingSettings(steps=9)) is None


def test_without_patience_the_last_weights_are_the_result(tmp_path):
    walk, history = train_walk(tmp_path, steps=8)
    assert len(history) == 8 and "stopped" not in history[-1]
    assert abs(walk.weight.item() - 0.5) == pytest.approx(history[-1]["val_loss"])


def test_stopped_by_patience_with_the_best_weights_killed_or_not(tmp_path, capsys):
    walk, history = train_walk(tmp_path / "whole", patience=4)
    losses = [row["val_loss"] for row in history]
    assert len(history) == int(np.argmin(losses)) + 5 < 12
    assert history[-1]["stopped"] == stop_reason(history, TrainingSettings(steps=40, patience=4))
    assert abs(walk.weight.item() - 0.5) == pytest.approx(min(losses)) and min(losses) < losses[-1] - 0.2
    assert capsys.readouterr().err.count(f"stopped at step {len(history)}: val_loss has not improved") == 1
    for step in (4, 7, len(history)):
        with pytest.raises(Killed):
            train_walk(tmp_path / "killed", killer(step), patience=4)
    capsys.readouterr()
    resumed, resumed_history = train_walk(tmp_path / "killed", patience=4)
    assert resumed_history == history and same_weights(resumed, walk)
    assert "stopped" not in capsys.readouterr().err


def test_stopped_where_it_memorises_with_the_best_weights_before(tmp_path):
    def sample(model: Walk, step: int) -> dict[str, float]:
        return {"memorisation_ratio": 1 - model().item()}

    changes = dict(min_memorisation_ratio=0.72, sample_steps=1)  # below it from 0.28 on, before 0.5 is reached
    walk, history = train_walk(tmp_path / "whole", sample=sample, **changes)
    assert len(history) == 3 and "memorisation_ratio" in history[-1]["stopped"]
    assert walk.weight.item() == pytest.approx(0.5 - history[1]["val_loss"])
    with pytest.raises(Killed):
        train_walk(tmp_path / "killed", killer(2), sample, checkpointing_steps=1, **changes)
    resumed, resumed_history = train_walk(tmp_path / "killed", None, sample, checkpointing_steps=1, **changes)
    assert resumed_history == history and same_weights(resumed, walk)


def test_memorising_from_the_start_ends_with_what_there_is(tmp_path):
    walk, history = train_walk(
        tmp_path,
        sample=lambda model, step: {"memorisation_ratio": 0.1},
        min_memorisation_ratio=0.5,
        sample_steps=2,
        validation_steps=20,
    )
    assert len(history) == 2 and history[-1]["stopped"].endswith("of step 2")
    assert walk.weight.item() == pytest.approx(0.2, abs=0.01)


def test_trackers_hold_every_step_once_though_killed(tmp_path, monkeypatch):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pytest.importorskip("dvclive")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)  # without a commit, which DVCLive does not survive
    monkeypatch.chdir(tmp_path)
    changes = dict(steps=25, validation_steps=8, checkpointing_steps=8, report_to=["tensorboard", "dvclive"])
    with pytest.raises(Killed):
        train_walk(tmp_path / "work", killer(22), **changes)
    _, history = train_walk(tmp_path / "work", **changes)

    losses = {8: history[7]["loss"], 10: history[9]["loss"], 16: history[15]["loss"], 20: history[19]["loss"]}
    losses |= {24: history[23]["loss"], 25: history[24]["loss"]}
    events = event_accumulator.EventAccumulator(str(tmp_path / "work/tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "val_loss", "learning_rate"}
    assert {event.step: event.value for event in events.Scalars("loss")} == pytest.approx(losses)
    assert [event.step for event in events.Scalars("loss")] == list(losses)
    assert [event.step for event in events.Scalars("val_loss")] == [8, 16, 24, 25]
    assert events.Scalars("learning_rate")[0].value == pytest.approx(
        learning_rate(7, TrainingSettings(steps=25, learning_rate=0.1, warmup_steps=0))
    )
    table = (tmp_path / "work/dvclive/plots/metrics/loss.tsv").read_text().split()
    assert table[:2] == ["step", "loss"]
    assert dict(zip(map(int, table[2::2]), map(float, table[3::2]), strict=True)) == pytest.approx(losses)
    assert len(table) == 2 + 2 * len(losses)
    metrics = json.loads((tmp_path / "work/dvclive/metrics.json").read_text())
    assert metrics["step"] == 25 and metrics["val_loss"] == history[-1]["val_loss"]
    assert not (tmp_path / ".dvc").exists()


def test_a_missing_tracker_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == "dvclive" else object())
    with pytest.raises(TemDataError, match="toy.report_to: dvclive is not installed; `pip install dvclive`"):
        train_tiny(tmp_path, report_to=["tensorboard", "dvclive"])


SEVERAL = dict(patience=2, sample_steps=3)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """Accelerate over gloo, killed and resumed; summing gradients in another order gave weights 3e-8 apart."""
    run_in_two_processes("tests.training.test_training", tmp_path)
    one, history = train_tiny(tmp_path / "one", sample=draw_sheet(tmp_path / "one_sheets"), **SEVERAL)
    for folder in ("whole", "killed"):
        result = torch.load(tmp_path / f"{folder}.pt", weights_only=True)
        assert result["processes"] == 2
        assert [row["loss"] for row in result["history"]] == pytest.approx([row["loss"] for row in history], rel=1e-5)
        for name, weight in one.state_dict().items():
            torch.testing.assert_close(result["weights"][name], weight, atol=1e-6, rtol=0)
    assert len(list((tmp_path / "sheets").iterdir())) == 4


def _train_in_processes(folder: Path) -> None:
    """What each process of `test_two_processes_train_as_one` does."""
    sample = draw_sheet(folder / "sheets")
    with contextlib.suppress(Killed):
        train_tiny(folder / "killed", killer(5), sample=sample, **SEVERAL)
    for name in ("killed", "whole"):
        model, history = train_tiny(folder / name, sample=sample, **SEVERAL)
        if os.environ["RANK"] == "0":
            processes = torch.distributed.get_world_size()
            result = {"weights": model.state_dict(), "history": history, "processes": processes}
            torch.save(result, folder / f"{name}.pt")
    if os.environ["RANK"] == "1":
        load = torch.load
        torch.load = lambda *args, **kwargs: time.sleep(1) or load(*args, **kwargs)
    train_tiny(folder / "whole", sample=sample, **SEVERAL)  # which has ended, and whose folder is not needed any more
    if os.environ["RANK"] == "0":
        shutil.rmtree(folder / "whole")


if __name__ == "__main__":
    _train_in_processes(Path(sys.argv[1]))
