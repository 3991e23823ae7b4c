"""Tables held by columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import Field, fields
from typing import Any, ClassVar, Self

import numpy as np


class Columns:
    """The base of a dataclass whose fields are arrays of one length, a row of them for each thing it describes."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __len__(self) -> int:
        return len(self.columns()[0])

    def columns(self) -> list[np.ndarray]:
        return [getattr(self, field.name) for field in fields(self)]

    def take(self, rows: np.ndarray) -> Self:
        """Some rows, by index or bool."""
        return type(self)(*(column[rows] for column in self.columns()))

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """The rows of all parts, one after the other."""
        return cls(*map(np.concatenate, zip(*(part.columns() for part in parts), strict=True)))
