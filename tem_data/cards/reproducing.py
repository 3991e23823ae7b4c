"""The one command that makes a run again: its profile, and what params.yaml has otherwise than that."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from tem_data.core.errors import TemDataError

Override = tuple[str, Any]

PROFILE = "profile"
DATA_SECTIONS = ("import", "split")
OTHER_SECTIONS = ("cards", "launch")  # what is said of a run, and how its stages are started
ABSENT = object()


def command(params: Mapping[str, Any], conf: str | os.PathLike) -> str:
    """`dvc exp run` with the overrides of `overrides`; what is a path on this machine is shown as `PATH_OF_…`.

    Raises TemDataError as `overrides` does.
    """
    shown = [(key, _hidden(key, value)) for key, value in overrides(params, conf)]
    return " ".join(["dvc exp run", *(f"-S {shlex.quote(text)}" for text in as_text(shown))])


def overrides(params: Mapping[str, Any], conf: str | os.PathLike) -> list[Override]:
    """The values that make `params` of `conf`: the profile, its own paths, choices of a group, then single settings.

    A key begins with + where the profile has no such setting, and with ~ where params have none. The sections cards
    and launch do not count.
    Raises TemDataError where `conf` has no such profile or cannot be composed.
    """
    conf, profile = Path(conf), params[PROFILE]
    params = {key: value for key, value in params.items() if key not in OTHER_SECTIONS}
    if not (conf / PROFILE / f"{profile}.yaml").is_file():
        raise TemDataError(
            f"params.yaml, profile: {profile!r} is not in {conf / PROFILE}; name the file and its `profile` alike"
        )
    chosen: list[Override] = [(PROFILE, profile)]
    base = _compose(conf, chosen)
    if own := [(key, params[key]) for key in base if isinstance(base[key], str) and key in params and key != PROFILE]:
        chosen += own
        base = _compose(conf, chosen)
    apart = list(_differences(base, params))
    for group in sorted(folder for folder in conf.iterdir() if folder.is_dir() and folder.name != PROFILE):
        options = _options(group, apart) if len(apart) > 1 else []  # one setting is as short by itself
        left = {option: list(_differences(_compose(conf, [*chosen, option]), params)) for option in options}
        best = min(left, key=lambda option: len(left[option]), default=None)
        if best and len(left[best]) < len(apart):
            chosen, apart = [*chosen, best], left[best]
    return chosen + apart


def as_text(chosen: Sequence[Override]) -> list[str]:
    """As hydra reads them, `key=value`."""
    return [key if key.startswith("~") else f"{key}={_literal(value)}" for key, value in chosen]


def _compose(conf: Path, chosen: Sequence[Override]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(conf.absolute()), version_base=None):
            composed = cast("dict[str, Any]", OmegaConf.to_container(compose("config", as_text(chosen)), resolve=True))
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise TemDataError(f"{conf}: cannot be composed with {as_text(chosen)} ({reason}); mend it") from error
    return {key: value for key, value in composed.items() if key not in OTHER_SECTIONS}


def _options(group: Path, apart: Sequence[Override]) -> list[Override]:
    """What can be chosen in a folder, as conf/arms/, if it sets anything of what is apart."""
    files = sorted(group.glob("*.yaml"))
    settings = {name for file in files for name in yaml.safe_load(file.read_text())}
    names = {part for key, _ in apart for part in key.lstrip("+~").split(".")}
    return [(group.name, file.stem) for file in files] if settings & names else []


def _differences(base: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> Iterator[Override]:
    apart = {k: wanted.get(k, ABSENT) for k in {**base, **wanted} if base.get(k) != wanted.get(k)}
    if not all(re.fullmatch(r"\w+", key) for key in apart):  # as MODEL.FPN.OUT_CHANNELS, which is no path of settings
        yield "+" + prefix[:-1], {key: value for key, value in apart.items() if value is not ABSENT}
        return
    for key, value in apart.items():
        before = base.get(key, ABSENT)
        if value is ABSENT:
            yield f"~{prefix}{key}", None
        elif isinstance(before, Mapping) and isinstance(value, Mapping):
            yield from _differences(before, value, f"{prefix}{key}.")
        else:
            yield f"{'+' if before is ABSENT else ''}{prefix}{key}", value


def _hidden(key: str, value: Any) -> Any:
    """A path tells strangers nothing but what this machine looks like."""
    is_path = isinstance(value, str) and (
        value.startswith(("/", "~", ".")) or ("/" in value and key.lstrip("+").split(".")[0] in DATA_SECTIONS)
    )
    return f"PATH_OF_{key.lstrip('+').split('.')[-1].upper()}" if is_path else value


def _literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_literal, value)) + "]"
    text = str(value)
    plain = not isinstance(value, str) or re.fullmatch(r"[A-Za-z_./~][\w./~-]*", text)
    words = ("null", "true", "false", "nan", "inf")
    return text if plain and text.lower() not in words else "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
