"""Search a micrograph by tiles that overlap, and report each defect once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np
from pycocotools import mask as rle_ops
from tqdm import tqdm

from tem_data.core.micrograph import Defect, window

SAME = 0.5
MARGIN = 1 / 16
FAINT = 0.1
STEP = 1 / 2

# The defects on each of some tiles whose box centres, (n, 2) x and y in px of tile k, pass
# `wanted(k, centres, margin)`, (n,) bool: those in its cell and up to `margin`, a share of the tile, beyond.
Wanted = Callable[[int, np.ndarray, float], np.ndarray]


class OnTile(NamedTuple):
    """What is found on a tile; `faint` is the sum of the scores from `FAINT` up to the threshold in its own cell."""

    defects: Sequence[Defect]
    faint: float


Find = Callable[[Sequence[np.ndarray], Wanted], Sequence[OnTile]]


def corners(shape: tuple[int, int], tile: int) -> list[tuple[int, int]]:
    """The upper left pixels (x, y) of the tiles that cover an image of `shape`, row by row."""
    rows, columns = (_starts(side, tile) for side in shape)
    return [(x, y) for y in rows for x in columns]


def _starts(side: int, tile: int) -> list[int]:
    last = max(0, side - tile)
    return sorted({*range(0, last, int(STEP * tile)), last})


def search(image: np.ndarray, tile: int, find: Find, batch_size: int, progress: bool = False) -> OnTile:
    """The defects on a whole micrograph `(h, w) uint8`, by falling score, and what is faint on it.

    The tiles of `tile` px overlap by half. Each answers for the defects whose
    box centre lies nearer to its own centre than to that of any other tile, or
    at most a sixteenth of a tile beyond; what several tiles report is taken
    from the surest that sees it whole. So a defect of up to half a tile is
    seen whole and reported once.
    """
    rows, columns = (_starts(side, tile) for side in image.shape)
    height, width = (min(side, tile) for side in image.shape)
    places, candidates, faint = corners(image.shape, tile), [], 0.0
    with tqdm(total=len(places), desc="tiles", leave=False, disable=not progress) as bar:
        for start in range(0, len(places), batch_size):
            batch = places[start : start + batch_size]

            def answers(
                k: int, centres: np.ndarray, margin: float, batch: Sequence[tuple[int, int]] = batch
            ) -> np.ndarray:
                (x, y), (across, down) = batch[k], (2 * margin * width, 2 * margin * height)
                inside = _in_cell(centres[:, 0] + x, x, columns, width, across)
                return inside & _in_cell(centres[:, 1] + y, y, rows, height, down)

            crops = [image[y : y + height, x : x + width] for x, y in batch]
            for (x, y), found in zip(batch, find(crops, answers), strict=True):
                candidates += [_Candidate(defect, x, y) for defect in found.defects]
                faint += found.faint
            bar.update(len(batch))
    kept = _reported_once(candidates, (height, width), image.shape)
    defects = (cast(Defect, window(c.defect, -c.x, -c.y, image.shape)) for c in kept)
    return OnTile(sorted(defects, key=lambda d: -d.score), faint)


class _Candidate(NamedTuple):
    """A defect as a tile shows it, and the tile's upper left pixel."""

    defect: Defect
    x: int
    y: int

    def box(self) -> tuple[int, int, int, int]:
        left, top, width, height = self.defect.bbox
        return self.x + left, self.y + top, self.x + left + width, self.y + top + height


def _in_cell(middles: np.ndarray, start: int, starts: Sequence[int], side: int, beyond: float) -> np.ndarray:
    """Whether, along one axis, a tile of `side` px answers for defects at `middles`, (n,).

    It does so up to half of `beyond` px past its cell.
    """
    distance = np.abs(np.add(starts, side / 2)[:, None] - middles)
    # a step beyond the border between two tiles is a step further from one centre and nearer to the other
    return distance[starts.index(start)] - distance.min(0) <= beyond


def _reported_once(candidates: Sequence[_Candidate], tile: tuple[int, int], shape: tuple[int, int]) -> list[_Candidate]:
    """The best candidate for each defect: the surer one, unless it lies so near to its tile's edge that it may be cut.

    Of those that touch an edge it is the largest. Within a tile the detector has chosen already.
    """

    def room(candidate: _Candidate) -> float:
        left, top, width, height = candidate.defect.bbox
        x, y = candidate.x, candidate.y
        rooms = [(left, x > 0), (top, y > 0)]
        rooms += [(tile[1] - left - width, x + tile[1] < shape[1]), (tile[0] - top - height, y + tile[0] < shape[0])]
        return min([MARGIN * min(tile), *(space for space, within in rooms if within)])

    def rank(candidate: _Candidate) -> tuple[float, ...]:
        space, defect = room(candidate), candidate.defect
        return -space, 0 if space else -defect.area, -defect.score

    ranked = sorted(candidates, key=rank)
    boxes = np.array([(*c.box(), c.x, c.y) for c in ranked]).reshape(-1, 6)
    kept = np.zeros(len(ranked), bool)
    for number, (left, top, right, bottom, x, y) in enumerate(boxes):
        meets = (boxes[:, 0] < right) & (boxes[:, 1] < bottom) & (boxes[:, 2] > left) & (boxes[:, 3] > top)
        elsewhere = (boxes[:, 4] != x) | (boxes[:, 5] != y)
        better = (ranked[i] for i in np.flatnonzero(kept & meets & elsewhere))
        kept[number] = not any(_same(ranked[number], other, tile) for other in better)
    return [candidate for candidate, is_kept in zip(ranked, kept, strict=True) if is_kept]


def _same(a: _Candidate, b: _Candidate, tile: tuple[int, int]) -> bool:
    """Whether two tiles show one defect: a mask IoU of `SAME` within what both of them show."""
    x, y = max(a.x, b.x), max(a.y, b.y)
    common = min(a.y, b.y) + tile[0] - y, min(a.x, b.x) + tile[1] - x
    one, other = (window(c.defect, x - c.x, y - c.y, common) for c in (a, b))
    if one is None or other is None:
        return False
    return rle_ops.iou([one.rle(*common)], [other.rle(*common)], [0]).item() >= SAME
