"""The command that names the micrographs to label next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tem_data.cli.app import app


@app.command()
def suggest(
    folder: Annotated[Path, typer.Argument(help="Folder that `predict` wrote.")],
    count: Annotated[int, typer.Option("-n", help="How many micrographs.", min=1)] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV file for the list; one that is there is replaced.")
    ] = None,
) -> None:
    """Name the micrographs that are most worth labelling next.

    These are the ones on which the detector is expected to be poor and that differ from what it was trained on and
    from one another.
    """
    from tem_data.analysis.tables import plain
    from tem_data.core.files import write_table
    from tem_data.trust.columns import read_candidates
    from tem_data.trust.suggesting import COLUMNS
    from tem_data.trust.suggesting import suggest as choose

    candidates = read_candidates(folder)
    chosen = choose(candidates, count)
    print(f"{len(chosen)} of {len(candidates.micrographs)} micrographs, the most useful first:")
    for one in chosen:
        print(f"{one.rank:3}  {one.image}: {one.reason}")
    if out:
        write_table(out, (plain(one._asdict()) for one in chosen), COLUMNS)
