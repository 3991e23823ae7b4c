"""The `tem-data` command: a thin face of the library, one sub-command a step."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import cast

from tem_data.cli import (  # noqa: F401  (each adds its commands)
    app_command,
    compare,
    data,
    export,
    hub,
    masks,
    measure,
    models,
    predict,
    project,
    score,
    suggest,
)
from tem_data.cli.app import STEPS, app
from tem_data.core.errors import TemDataError
from tem_data.core.extras import missing_extra

app.registered_commands.sort(key=lambda c: STEPS.index(c.name or cast(FunctionType, c.callback).__name__))


def main() -> None:
    """The console entry point: an error that its user can mend is one line."""
    try:
        app()
    except (TemDataError, OSError) as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {missing_extra(error)}")
