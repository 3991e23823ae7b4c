"""The settings of a version, which may be a stranger's: what starts a command or names a place stays the project's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write
from tem_data.hub.provenance import LOCK, check_outs

PARAMS = "params.yaml"
SETTINGS = (PARAMS, LOCK)
# DVC puts `launch` in front of each command, and `study` into commands and paths.
EXECUTED = ("launch",)
INSERTED = ("study",)
HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")
# Keys that name files, folders or addresses; those of one line are of one source.
PLACES = {
    "import": ("watch", "images", "annotations", "calibration", "instances"),
    "split": ("watch", "table"),
    "autoencoder": ("pretrained",),
    "ldm": ("pretrained",),
    "detector": ("weights",),
}


def take_settings(project: Path, source: Path, outs: Sequence[Path]) -> list[str]:
    """Put params.yaml and dvc.lock of `source` in the place of the project's; the keys that stay as they are here.

    Raises TemDataError, and leaves all as it was, where no stage of them makes one of the outputs, params.yaml would
    bring something into a command, or dvc.lock holds what is no hash.
    """
    taken = (source / PARAMS).read_bytes()
    ours, theirs = _read(project / PARAMS) if (project / PARAMS).is_file() else {}, _read(source / PARAMS)
    _check_inserted(theirs, source / PARAMS)
    _check_hashes(_read(source / LOCK), source / LOCK)
    params, kept = _merged(ours, theirs)
    if kept:
        taken = yaml.safe_dump(params, sort_keys=False, allow_unicode=True).encode()
    with _as_before(project):
        _write(project / PARAMS, taken)
        _write(project / LOCK, (source / LOCK).read_bytes())
        check_outs(project, outs)
    return kept


def _check_inserted(theirs: Mapping[str, Any], path: Path) -> None:
    for name in INSERTED:
        for value in _leaves(theirs.get(name)):
            if not re.fullmatch(r"\w[\w-]*", str(value)):
                raise TemDataError(
                    f"{path}: {name} goes into commands: expected whole numbers and single words, found {value!r}; "
                    "pull without --settings"
                )


def _check_hashes(content: Any, path: Path) -> None:
    """DVC makes paths in its cache of them: one with a slash leads to any file, which it then puts in place."""
    for entry in content if isinstance(content, list) else content.values() if isinstance(content, dict) else ():
        _check_hashes(entry, path)
    for key in {"md5", "relpath"} & set(content) if isinstance(content, dict) else ():
        if not HASH.fullmatch(str(content[key])):
            raise TemDataError(
                f"{path}: {key}: expected a hash of 32 hexadecimal digits, found {content[key]!r}; "
                "pull without --settings"
            )


def _merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`theirs`, but for what must not come from a stranger, and the keys that differed there."""
    merged = dict(theirs)
    kept = [name for name in EXECUTED if _keep(merged, ours, name)]
    for section, keys in PLACES.items():
        if isinstance(theirs.get(section), dict) and any(_is_outside(theirs[section].get(key)) for key in keys):
            here = ours.get(section)
            merged[section] = dict(theirs[section])
            differing = [key for key in keys if _keep(merged[section], here if isinstance(here, dict) else {}, key)]
            kept += [f"{section}.{key}" for key in differing]
    return merged, kept


def _keep(merged: dict[str, Any], ours: Mapping[str, Any], key: str) -> bool:
    """Gives `key` the value that it has in `ours`, or none; whether that is another one."""
    if merged.get(key) == ours.get(key):
        return False
    merged.pop(key, None)
    if key in ours:
        merged[key] = ours[key]
    return True


def _is_outside(value: Any) -> bool:
    """Whether a setting names, or may name, anything but a place in the project or a model on the Hub."""
    if not isinstance(value, str):
        return value is not None
    return Path(value).is_absolute() or ".." in Path(value).parts or value.startswith("~") or "://" in value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _read(path: Path) -> dict[str, Any]:
    """As DVC reads it, which is what runs the commands."""
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import parse_yaml

    try:
        content = parse_yaml(path.read_text(encoding="utf-8"), path)
    except (DvcException, ValueError) as error:
        raise TemDataError(f"{path}: not a YAML file that DVC can read ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or not content:
        found = type(content).__name__ if content else "nothing"
        raise TemDataError(f"{path}: expected sections of settings as params.yaml has them, found {found}")
    return content


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as draft:
        draft.write_bytes(content)


@contextmanager
def _as_before(project: Path) -> Iterator[None]:
    """On any error the settings are again what they were."""
    before = {name: (project / name).read_bytes() for name in SETTINGS if (project / name).is_file()}
    try:
        yield
    except BaseException:
        for name in SETTINGS:
            if name in before:
                _write(project / name, before[name])
            else:
                (project / name).unlink(missing_ok=True)
        raise
