"""Where a training reports its numbers while it runs: TensorBoard and DVCLive, through Accelerate's trackers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate import Accelerator

from tem_data.core.errors import SettingError

if TYPE_CHECKING:
    from dvclive import Live

TRACKERS = ("tensorboard", "dvclive")


def check_trackers(names: Sequence[str], section: str) -> None:
    """Raises SettingError where the package of one of `names` is not installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        problem = f"{missing[0]} is not installed; `pip install {missing[0]}` or take it out of the list"
        raise SettingError(section, "report_to", problem)


@contextmanager
def trackers(accelerator: Accelerator, folder: Path) -> Iterator[None]:
    """Start the trackers that `accelerator` logs with, in `folder`/tensorboard and `folder`/dvclive; end them after.

    They start empty: a training that is resumed logs its history again, so that
    no step appears twice.
    """
    live = None
    if accelerator.is_main_process:
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        live = _live(folder / "dvclive") if "dvclive" in map(str, accelerator.log_with) else None
    accelerator.init_trackers("tensorboard", init_kwargs={"dvclive": {"live": live}})
    try:
        yield
    finally:
        # Not end_training, which also ends the process group that the next training needs.
        for tracker in accelerator.trackers:
            tracker.finish()


def _live(folder: Path) -> Live:
    from dvclive import Live

    class LiveOnly(Live):
        """Leaves git and DVC alone: Live fails where git has no commit, and sets DVC up where it finds none."""

        def _init_dvc(self) -> None:
            pass

    return LiveOnly(str(folder), save_dvc_exp=False, dvcyaml=None)
