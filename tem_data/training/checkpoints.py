"""Checkpoints of a training: folders that hold its whole state, each of them complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel

from tem_data.core.errors import TemDataError
from tem_data.core.files import move, read_json, write_json

Row = dict[str, float | str]
History = list[Row]


@dataclass(frozen=True)
class Checkpoints:
    """The folders `checkpoint-N` in `folder`, the last `total_limit` of them: the state after N steps.

    That is what `accelerator` prepared, the `averages` and the history. A
    training goes on from a checkpoint of the same `identity` alone.
    """

    folder: Path
    accelerator: Accelerator
    averages: Mapping[str, EMAModel]
    identity: Mapping[str, Any]
    total_limit: int

    def found(self) -> list[Path]:
        """All checkpoints, the latest last."""
        return sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))

    def resume(self) -> History:
        """Load the latest checkpoint and return its history; an empty one if there is no checkpoint.

        Raises TemDataError where it is damaged or was made with other settings.
        """
        found = self.found()
        if not found:
            return []
        with _damage_explained(found[-1]):
            stored = read_json(found[-1] / "history.json")
        now = json.loads(json.dumps(self.identity))
        changed = sorted(name for name in now if stored["identity"].get(name) != now[name])
        if changed:
            raise TemDataError(f"{found[-1]}: made with another {changed}; delete {self.folder} or set them back")
        with _damage_explained(found[-1]):
            self.accelerator.load_state(str(found[-1]))
            states = torch.load(found[-1] / "averages.pt", "cpu", weights_only=True)
        for name, average in self.averages.items():
            average.load_state_dict(states[name])
            average.to(self.accelerator.device)
        return stored["history"]

    def save(self, history: History) -> None:
        """Write `checkpoint-N` under a temporary name, move it into place and delete the oldest ones."""
        target = self.folder / f"checkpoint-{len(history)}"
        draft = target.with_name(f".{target.name}.partial")
        if self.accelerator.is_main_process:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(draft))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            torch.save({name: average.state_dict() for name, average in self.averages.items()}, draft / "averages.pt")
            write_json(draft / "history.json", {"identity": self.identity, "history": history})
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
