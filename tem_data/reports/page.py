"""One HTML file a run or study that opens without a server: figures and tables are inside it."""

from __future__ import annotations

import base64
import io
import math
import os
import re
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
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
HALF_PT = 300  # the widest drawing that shares a line with another; one column of a journal has 249 pt


@dataclass(frozen=True)
class Link:
    """To another page; `href` is relative to the page it stands on. Also a value of a table."""

    text: str
    href: str


@dataclass(frozen=True)
class Table:
    """Rows with a column for every key that any row has, in the order in which they first occur.

    A `folded` one shows its caption alone until it is opened.
    """

    rows: Sequence[Mapping[str, Any]]
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure file, SVG, PNG or JPEG.

    A `small` one, as of a sheet, shares a line with others; `href` is what a click on it opens.
    """

    path: str | os.PathLike
    caption: str = ""
    small: bool = False
    href: str = ""


@dataclass(frozen=True)
class Section:
    """`text` is plain; an empty line begins a new paragraph."""

    heading: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    links: Sequence[Link] = ()


def write_report(
    path: str | os.PathLike,
    title: str,
    summary: str,
    sections: Sequence[Section],
    links: Sequence[Link] = (),
    facts: Mapping[str, str] | None = None,
) -> None:
    """Title, `links`, `summary` (plain text as of a section), `facts`, contents and the sections as one HTML file.

    It needs no other file; links may lead to some. Raises TemDataError for a
    picture that cannot be read or is of no known kind.
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
    environment.filters |= {"embedded": embedded, "figure_class": _figure_class, "unbroken": _unbroken}
    environment.tests["link"] = lambda value: isinstance(value, Link)
    text = environment.get_template("report.html.jinja").render(
        title=title, summary=summary, sections=sections, links=links, facts=facts or {}
    )
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


def _figure_class(path: str | os.PathLike) -> str:
    """Drawings are inverted on a dark page, micrographs are not; narrow drawings stand side by side."""
    if Path(path).suffix.lower() != ".svg":
        return "photo"
    width = re.search(r'<svg[^>]*? width="([\d.]+)pt"', Path(path).read_text(encoding="utf-8"))
    return "drawn half" if width and float(width[1]) <= HALF_PT else "drawn"


def _unbroken(text: str) -> str:
    """With spaces that break no line within brackets and around ±, so that a narrow column breaks between numbers."""
    text = re.sub(r"\[[^\]]*\]|\([^)]*\)", lambda part: part[0].replace(" ", NO_BREAK_SPACE), text)
    return re.sub(r" (?=[±%])|(?<=±) ", NO_BREAK_SPACE, text)


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in text.split("\n\n") if part.strip()]


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))
