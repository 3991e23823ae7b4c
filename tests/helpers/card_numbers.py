"""The numbers that a card states, and where they come from."""

from __future__ import annotations

import json
import re
from statistics import fmean, stdev

from tem_data.core.files import read_table

READ = ("import.json", "leaks.json", "agreement.json", "study/gains.csv", "cells/*/*.json", "runs/*/*.json")
READ += ("runs/*/*/metrics.json",)

# What templates may say in numbers; the rest is read from a file.
STATIC = ("95 % bootstrap", "95 % interval", "real, 2.5 %", "real, 97.5 %", "95th percentile", "0 for background")
STATIC += (
    "16-bit",
    "Wasserstein-1",
    "1 is perfect",
    "below 1 where",
    "which is 1 at best",
    "the 2026 paper",
    "al., 2022",
    "al., 2026",
)
STATIC_FORMS = (
    r"```(sh|bibtex)\n.*?```",  # the command and the citations, which have tests of their own
    r"split \d+",
    r"n = \d+",
    r"patches-n\d+-split\d+",
    r"\d*[KM]<n<\d+[KM]|n<1K",
)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?(?!\w)")
IDS = ("split", "n", "run", "runs")


def numbers_of(card, classes, runs):
    """The numbers that a card states: not those of static text, of names of classes, and of cells and runs."""
    for form in STATIC_FORMS:
        card = re.sub(form, "", card, flags=re.DOTALL)
    for text in (*STATIC, ", ".join(classes), f"over {runs} independent", f"runs: {runs}\n"):
        card = card.replace(text, "")
    for name in classes:
        card = re.sub(rf"(F1 |contrast |\b){re.escape(name)}(?= over|:| \|)", "", card)
    return NUMBER.findall("\n".join(_without_ids(card.splitlines())))


def _without_ids(lines):
    drop, inside = [], False
    for line in lines:
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("|") and not inside:
            drop = [i for i, cell in enumerate(cells) if cell in IDS]
        inside = line.startswith("|")
        yield "|".join(cell for i, cell in enumerate(cells) if i not in drop) if inside else line


def leaves(value, path=()):
    """Each number of JSON content with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from leaves(item, (*path, i))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def pool_of(results, params):
    """All numbers of the files that cards are made of, and means and standard deviations of them over runs."""
    found, over_runs = set(), {}
    for path in (path for pattern in READ for path in results.glob(pattern)):
        if path.suffix == ".csv":
            found |= {float(v) for row in read_table(path) for v in row.values() if re.fullmatch(r"-?[\d.e-]+", v)}
            continue
        content = json.loads(path.read_text())
        if path.name == "filter.json":
            content["share"] = content["pairs"]["kept"] / content["pairs"]["all"]
        if path.name == "paint.json":
            for held in content["defects"].values():
                held["share"] = held["kept"] / held["requested"]
        values = dict(leaves(content))
        found |= set(values.values())
        place = path.relative_to(results).parts
        if place[0] == "runs":
            split, size, _ = place[1].split("-")
            for key, value in values.items():
                for cell in ((split, size), size):  # also over all splits
                    over_runs.setdefault((cell, *place[2:], *key), []).append(value)
    for values in over_runs.values():
        found |= {fmean(values), stdev(values)} if len(values) > 1 else set()
    rule = params["evaluate"]
    return found | {rule["iou"], params["patch"]["size"]}


def unfounded(numbers, pool):
    """Those numbers that, to the places they are printed with, no number of the pool is."""
    forms = [(text, f".{len(text.partition('.')[2])}f" if "e" not in text else ".1e") for text in numbers]
    written = {form: {format(float(value), form) for value in pool} for form in {form for _, form in forms}}
    return [text for text, form in forms if format(float(text), form) not in written[form]]


def typed(cards, classes, runs):
    """The numbers that stay the same in all versions of a card though every metric differs: somebody typed them."""
    columns = [numbers_of(card, classes, runs) for card in cards]
    assert len({len(column) for column in columns}) == 1
    return [texts[0] for texts in zip(*columns, strict=True) if len(set(texts)) == 1]
