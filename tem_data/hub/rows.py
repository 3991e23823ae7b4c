"""The content of datasets, row by row: which rows a version adds, drops or alters."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

BATCH = 64
INDEX_BATCH = 4096


class Change(NamedTuple):
    """How many rows (or files) of a version were not in the last one, are no longer, or differ."""

    added: int
    removed: int
    altered: int


Items = Mapping[tuple[str, str], bytes]


def row_hashes(shards: Iterable[str | os.PathLike], group: str) -> Iterator[dict]:
    """`group`, `row` (what identifies it in its group) and the SHA-256 of its content, of each row of Parquet shards.

    A row is known by its micrograph, window and seed, and by its place among equal ones. Columns that are null do not
    count, so that a new optional column alters nothing. Memory holds the names of all rows, but the pictures of 64.
    """
    from pyarrow import parquet

    seen: Counter[str] = Counter()
    for shard in shards:
        for batch in parquet.ParquetFile(shard).iter_batches(BATCH):
            for row in batch.to_pylist():
                name = "{micrograph_id} {x},{y},{symmetry} {seed}".format_map(row)
                seen[name] += 1
                yield {"group": group, "row": f"{name} {seen[name]}", "sha256": _content(row)}


def _content(row: Mapping) -> bytes:
    # Rows written before there was `labelled_by` are the same rows.
    known = {c: value for c, value in row.items() if value is not None and (c, value) != ("labelled_by", "")}
    text = json.dumps(known, sort_keys=True, default=lambda data: hashlib.sha256(data).hexdigest())
    return hashlib.sha256(text.encode()).digest()


def write_index(path: str | os.PathLike, rows: Iterable[dict]) -> None:
    """A Parquet table of `row_hashes`."""
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema({"group": pyarrow.string(), "row": pyarrow.string(), "sha256": pyarrow.binary()})
    rows = iter(rows)
    with parquet.ParquetWriter(Path(path), schema) as writer:
        while batch := list(itertools.islice(rows, INDEX_BATCH)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


def read_index(path: str | os.PathLike) -> dict[tuple[str, str], bytes]:
    from pyarrow import parquet

    table = parquet.read_table(path)
    return dict(
        zip(
            zip(table["group"].to_pylist(), table["row"].to_pylist(), strict=True),
            table["sha256"].to_pylist(),
            strict=False,
        )
    )


def compare(old: Items, new: Items) -> dict[str, Change]:
    """What changed from `old` to `new`, by group; groups in which nothing did are left out."""
    changed: dict[str, Counter] = {}
    for key, content in new.items():
        if old.get(key) != content:
            changed.setdefault(key[0], Counter())["altered" if key in old else "added"] += 1
    for key in old:
        if key not in new:
            changed.setdefault(key[0], Counter())["removed"] += 1
    return {group: Change(*(counts[kind] for kind in Change._fields)) for group, counts in sorted(changed.items())}
