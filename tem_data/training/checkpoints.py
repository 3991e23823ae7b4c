"""Checkpoints of a training: folders that hold its whole state, each of them complete.

What a half-finished training may go on from: the same settings and seed, the
same inputs and the same code. `work_folder` (tem_data/core/files.py) decides it
for stages and commands. It names the folder by all of these and throws away
what others left, so that a change begins a new training. A training that is
called from Python with a folder of one's own is refused there instead if its
settings or its seed differ (`Checkpoints.resume`), as that folder is not ours to
empty. Nothing else checks it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator

from tem_data.core.errors import TemDataError
from tem_data.core.files import move, read_json, write_json

Row = dict[str, Any]  # numbers, but for the text of `stopped`
History = list[Row]


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass
class Progress:
    """How far a training is: a row and a learning rate for each step, and why it was stopped early, if it was."""

    history: History = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    stopped: str | None = None

    @property
    def step(self) -> int:
        return len(self.history)

    def ended(self, steps: int) -> bool:
        return self.step == steps or self.stopped is not None

    def add(self, losses: Mapping[str, float], rate: float) -> Row:
        """The row of a new step."""
        self.history.append({"step": self.step + 1, **losses})
        self.rates.append(rate)
        return self.history[-1]


@dataclass(frozen=True)
class Checkpoints:
    """The folders `checkpoint-N` in `folder`, the last `total_limit` of them: the state after N steps.

    That is what `accelerator` prepared, the state of the `parts` and the
    progress. A training goes on from a checkpoint of the same `identity` alone.
    """

    folder: Path
    accelerator: Accelerator
    parts: Mapping[str, Stateful]
    identity: Mapping[str, Any]
    total_limit: int

    def found(self) -> list[Path]:
        """All checkpoints, the latest last."""
        return sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))

    def resume(self) -> Progress:
        """Load the latest checkpoint and return its progress; that of a new training if there is no checkpoint.

        Raises TemDataError where it is damaged or was made with other settings.
        """
        found = self.found()
        if not found:
            return Progress()
        with _damage_explained(found[-1]):
            stored = read_json(found[-1] / "history.json")
            identity = stored.pop("identity")
        now = json.loads(json.dumps(self.identity))
        changed = sorted(name for name in now if identity.get(name) != now[name])
        if changed:
            raise TemDataError(f"{found[-1]}: made with another {changed}; delete {self.folder} or set them back")
        with _damage_explained(found[-1]):
            self.accelerator.load_state(str(found[-1]))
            states = torch.load(found[-1] / "parts.pt", "cpu", weights_only=True)
            for name, part in self.parts.items():
                part.load_state_dict(states[name])
            progress = Progress(**stored)
        self.accelerator.wait_for_everyone()  # or one that has nothing left to do might empty the folder
        return progress

    def save(self, progress: Progress) -> None:
        """Write `checkpoint-N` under a temporary name, move it into place and delete the oldest ones."""
        target = self.folder / f"checkpoint-{progress.step}"
        draft = target.with_name(f".{target.name}.partial")
        if self.accelerator.is_main_process:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(draft))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            torch.save({name: part.state_dict() for name, part in self.parts.items()}, draft / "parts.pt")
            write_json(draft / "history.json", {"identity": self.identity, **vars(progress)})
            move(draft, target)
            for old in self.found()[: -self.total_limit]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()


@contextmanager
def _damage_explained(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what a cut-off file raises depends on the library and on where it is cut
        line = str(error).split("\n")[0]
        raise TemDataError(
            f"{checkpoint}: cannot be read ({line}); delete it, and the training goes on from the one before"
        ) from error
