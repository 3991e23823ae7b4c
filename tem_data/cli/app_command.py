"""The command that serves the page in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tem_data.cli.app import app

if TYPE_CHECKING:
    Names = Sequence[str]
    Folders = Sequence[Path]
else:
    Names = list[str]  # what typer makes a repeatable option of
    Folders = list[Path]


@app.command("app")
def serve_app(
    detector: Annotated[Names, typer.Option(help="Folder of `train-detector`, or org/name@version. Repeatable.")] = (),
    ldm: Annotated[str | None, typer.Option(help="Folder of `train-ldm`, or org/name@version.")] = None,
    shapes: Annotated[Path | None, typer.Option(help="File of `fit-shapes`, to draw masks.", dir_okay=False)] = None,
    dataset: Annotated[Folders, typer.Option(help="Dataset folder to browse. Repeatable.", file_okay=False)] = (),
    port: Annotated[int | None, typer.Option(help="Port; else the first free one from 7860 on.", min=1)] = None,
) -> None:
    """Find defects, paint micrographs and look at data and results on a page in the browser.

    Only this machine can open the page, and it asks no other one for anything.
    What is not given is taken from the project in this folder.
    """
    import signal
    import time

    from tem_data.app.page import serving
    from tem_data.app.sources import sources_of

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what users left is removed then, too
    with serving(sources_of(detector, ldm, shapes, dataset), port) as address:
        print(f"{address}  (Ctrl+C ends it)")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print("ended")
