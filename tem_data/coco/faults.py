"""What is wrong with entries of a COCO file: an error at the first fault, or a quarantine of all faults."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from reprlib import Repr
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tem_data.core.errors import TemDataError
from tem_data.core.rle import finite, whole
from tem_data.importing.quarantine import Quarantine

_short = Repr()
_short.maxstring = _short.maxother = 80


class Fault(Exception):
    """Why an entry cannot be used: a reason of the quarantine, and in words what was expected and found."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class Faults:
    """Where the faults of the file `path` go: to the quarantine if there is one; without, the first one is raised.

    What is odd but changes nothing that counts is never raised; without a quarantine it is counted in `warnings`.
    """

    def __init__(
        self, path: str | os.PathLike, quarantine: Quarantine | None = None, warnings: Counter[str] | None = None
    ):
        self.path, self.quarantine = path, quarantine
        self.warnings: Counter[str] = Counter() if warnings is None else warnings
        self.first = ""

    def found(self, fault: Fault, item: str, file_name: str = "", action: str = "set aside") -> None:
        """Raises TemDataError if the file is read strictly."""
        message = f"{self.path}: {item}: {fault.detail}"
        if self.quarantine is None:
            raise TemDataError(message) from fault
        self.first = self.first or message
        self.quarantine.add(file_name or Path(self.path).name, item, fault.reason, action, fault.detail)

    def odd(self, warning: str, reason: str, item: str, file_name: str, detail: str, action: str = "kept") -> None:
        if self.quarantine is None:
            self.warnings[warning] += 1
        else:
            self.quarantine.add(file_name, item, reason, action, detail)


def shown(value: Any) -> str:
    """A value of a file as a message shows it, however long it is."""
    return _short.repr(value)


def identity(value: Any, field: str) -> str:
    """An id as text, so that 1, 1.0 and "1" are the same."""
    number = whole(value)
    if number is not None and abs(number) < 2**64:
        return str(number)
    return text(value, field, "text or a whole number")


def text(value: Any, field: str, expected: str = "text") -> str:
    # half of a surrogate pair, which JSON can hold, can be neither written nor printed
    if isinstance(value, str) and value.strip() and not any("\ud800" <= c <= "\udfff" for c in value):
        return value
    raise Fault("bad entry", f"expected `{field}` to be {expected}, found {shown(value)}")


def path_of(name: str) -> str:
    """The path in the name of a file that is an address: of the web, of a store, or Label Studio's `?d=PATH`.

    A path from the root on is that of another computer or folder, and given without the root.
    """
    try:
        address = urlsplit(name.strip())
        local = parse_qs(address.query).get("d") if address.path.endswith("local-files/") else None
    except ValueError:
        return name
    if local:
        return local[0].lstrip("/")
    return (unquote(address.path) if address.netloc else name).lstrip("/")


def crowd(value: Any) -> bool:
    """Whether `iscrowd` is set; it may be missing."""
    plain = value.strip().lower() if isinstance(value, str) else value
    for meaning, forms in ((False, (None, 0, "0", "0.0", "false")), (True, (1, "1", "1.0", "true"))):
        if isinstance(plain, (str, int, float, type(None))) and plain in forms:
            return meaning
    raise Fault("bad entry", f"expected `iscrowd` to be 0 or 1, found {shown(value)}")


def confidence(value: Any) -> float:
    if finite(value) and 0 <= value <= 1:
        return float(value)
    remedy = "give each result one" if value is None else "rescale it"
    raise Fault("bad entry", f"expected `score` to be a confidence in [0, 1], found {shown(value)}; {remedy}")
