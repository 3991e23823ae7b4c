"""What every stage needs: its parameters, its cell, and an end for errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tem_data.core.errors import TemDataError
from tem_data.core.places import ALL
from tem_data.study.arms import check_arms


def read_params() -> dict[str, Any]:
    params = yaml.safe_load(Path("params.yaml").read_text())
    check_arms(params["study"])
    return params


def parse_cell(*names: str) -> argparse.Namespace:
    """The command line of a stage under `matrix`: `--split`, `--size`, and `--run` and `--arm` where they are named."""
    parser = argparse.ArgumentParser()
    for name in names:
        parser.add_argument(f"--{name}", type={"arm": str, "size": _size}.get(name, int), required=True)
    return parser.parse_args()


def _size(text: str) -> int | str:
    return text if text == ALL else int(text)


def stage(main: Callable[[], None]) -> None:
    """Runs a stage; an error that its user can mend is one line."""
    try:
        main()
    except TemDataError as error:
        sys.exit(f"error: {error}")
