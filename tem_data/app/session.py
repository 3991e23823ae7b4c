"""What one open page has for itself, so that two users at once do not mix."""

from __future__ import annotations

import functools
import html
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, TypeVar, cast

import gradio as gr

from tem_data.core.errors import TemDataError
from tem_data.core.extras import missing_extra
from tem_data.figures.pictures import colour_of

if TYPE_CHECKING:
    from tem_data.app.finding import Search

WAIT_S = 0.2
Handler = TypeVar("Handler", bound=Callable[..., Any])


class Stopped(Exception):
    """The user asked a long job to stop."""


@dataclass(eq=False)
class Session:
    """A folder of its own, what was searched, and which jobs are asked to stop."""

    folder: Path
    search: Search | None = None
    finding: Event = field(default_factory=Event)
    painting: Event = field(default_factory=Event)

    @classmethod
    def new(cls, folder: Path) -> Session:
        """With a new folder in `folder`."""
        return cls(Path(tempfile.mkdtemp(dir=folder)))

    def close(self) -> None:
        """Stop its jobs and remove its folder."""
        self.finding.set()
        self.painting.set()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_folder(self) -> Path:
        """An empty folder that goes with the session."""
        return Path(tempfile.mkdtemp(dir=self.folder))


@contextmanager
def held(lock: Lock, stop: Event) -> Iterator[None]:
    """Hold a lock that others may hold for long. Raises Stopped where `stop` is set before."""
    while not lock.acquire(timeout=WAIT_S):
        check(stop)
    try:
        check(stop)
        yield
    finally:
        lock.release()


def check(stop: Event) -> None:
    """Raises Stopped where `stop` is set."""
    if stop.is_set():
        raise Stopped


def told(handler: Handler) -> Handler:
    """A handler whose errors that a user can mend are one line on the page, and which leaves it as it is if stopped."""

    @functools.wraps(handler)
    def careful(*args: Any, **options: Any) -> Any:
        with one_line():
            try:
                return handler(*args, **options)
            except Stopped:
                gr.Info("Cancelled.")
                return gr.skip()

    return cast(Handler, careful)


@contextmanager
def one_line() -> Iterator[None]:
    """Show an error that a user can mend as one line on the page."""
    try:
        yield
    except (TemDataError, OSError) as error:
        raise gr.Error(line(error), duration=None, print_exception=False) from None
    except ModuleNotFoundError as error:
        raise gr.Error(line(missing_extra(error)), duration=None, print_exception=False) from None


def line(text: object) -> str:
    """A text of unknown origin as one line of HTML."""
    return html.escape(" ".join(str(text).split()))


def picture_of(label: str, elem_id: str) -> gr.Image:
    """A picture that can be enlarged, pixel for pixel, and is not to be changed."""
    return gr.Image(
        None,
        format="png",
        label=label,
        show_label=False,
        interactive=False,
        elem_id=elem_id,
        buttons=["fullscreen"],
    )


def legend(classes: Sequence[str]) -> str:
    """The colours of classes, as HTML."""
    keys = (
        f'<span class="key" style="border-color: {colour_of(name, classes)}"></span>{line(name)}' for name in classes
    )
    return f"<p>{' '.join(keys)}</p>"
