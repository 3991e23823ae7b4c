"""One HTML file a run or study that opens without a server: figures and tables are inside it."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write

KINDS = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
LARGEST_PNG = 200_000  # bytes; a larger picture, as micrographs are, goes in as JPEG
WIDEST_PX = 1600
JPEG_QUALITY = 85


@dataclass(frozen=True)
class Table:
    """Rows with a column for every key that any row has, in the order in which they first occur."""

    rows: Sequence[Mapping[str, Any]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure file, SVG, PNG or JPEG."""

    path: str | os.PathLike
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """`text` is plain; an empty line begins a new paragraph."""

    heading: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


def write_report(path: str | os.PathLike, title: str, summary: str, sections: Sequence[Section]) -> None:
    """Title, `summary` (plain text as of a section), contents, and the sections, as one HTML file without references.

    Raises TemDataError for a picture that cannot be read or is of no known kind.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tem_data.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"paragraphs": _paragraphs, "columns": _columns, "cell": cell, "number": is_number}
    environment.filters["embedded"] = embedded
    text = environment.get_template("report.html.jinja").render(title=title, summary=summary, sections=sections)
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")


def cell(value: Any) -> str:
    """A value as a table shows it: numbers to three places, – for None and nan."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"


def is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def embedded(path: str | os.PathLike) -> str:
    """A picture as a `data:` URI; a large PNG becomes a JPEG of at most 1600 px width."""
    path = Path(path)
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise TemDataError(f"{path}: expected a figure of one of {', '.join(KINDS)}; give a file of such a kind")
    try:
        content = path.read_bytes()
        if kind == "image/png" and len(content) > LARGEST_PNG:
            kind, content = "image/jpeg", _jpeg(content)
    except OSError as error:
        raise TemDataError(f"{path}: cannot be read as a picture ({error}); make the figure first") from error
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _jpeg(content: bytes) -> bytes:
    from PIL import Image

    picture = Image.open(io.BytesIO(content)).convert("RGB")
    picture.thumbnail((WIDEST_PX, picture.height))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in text.split("\n\n") if part.strip()]


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))
