"""Draw new multi-class masks from fitted shapes.

First a micrograph's character (its densities, pixel size, how large its defects
are), then how dense the window is, then the defects: how many by Poisson's law,
each with the size, aspect ratio and angle of a measured one, mostly of the same
micrograph, smoothed by narrow kernels. They lie at random on a canvas larger than
the mask, so that its edges cut them as a crop does, and are moved apart until
near pairs are as rare as measured.

Masks are drawn in blocks of `BLOCK`, each block from a generator of its own: a
mask follows from seed and index alone, and blocks can be shared among processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tem_data.core.columns import Columns
from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.micrograph import Defect, Micrograph, defect_from_polygons
from tem_data.masks.pool import ShapePool
from tem_data.masks.settings import SIDE_PX, MaskSettings
from tem_data.masks.shapes import Shapes
from tem_data.masks.spacing import Ellipses, keep_apart
from tem_data.masks.spans import Spans, defect_from_spans, ellipse_spans, mask_spans, paint

BLOCK = 128
TRIES = 200


@dataclass(frozen=True, eq=False)
class Drawn(Columns):
    """The table of what was drawn, one entry a defect that shows on its mask, `(defects,)` each.

    `item` is the mask's place in its batch, `number` the defect's value on the instance map, `category` that of
    `classes`; lengths in px of the mask, whole shapes whatever the edge cuts; `angle_deg` as in `FittedEllipse`.
    `model` is the number of the measured defect within its class.
    """

    item: np.ndarray
    number: np.ndarray
    category: np.ndarray
    model: np.ndarray
    x: np.ndarray
    y: np.ndarray
    major: np.ndarray
    minor: np.ndarray
    angle_deg: np.ndarray

    @property
    def ellipses(self) -> Ellipses:
        return Ellipses(self.x, self.y, self.major, self.minor, self.angle_deg, self.item, self.category)


@dataclass(frozen=True, eq=False)
class MaskBatch:
    """Masks `first`, `first + 1`, …: class masks uint8 and instance maps uint16, `(n, size_px, size_px)`, and `drawn`.

    `unit_per_px` `(n,)` is the pixel size of each.
    """

    first: int
    class_masks: np.ndarray
    instances: np.ndarray
    unit_per_px: np.ndarray
    drawn: Drawn


@dataclass(frozen=True, eq=False)
class _Block:
    unit_per_px: np.ndarray
    drawn: Drawn
    spans: Spans


class MaskSampler:
    """Draws masks as `settings` ask from fitted shapes. Mask i of a seed depends on nothing else.

    Raises TemDataError for settings that the shapes cannot meet.
    """

    def __init__(self, shapes: Shapes, settings: MaskSettings = MaskSettings()) -> None:
        self.shapes, self.settings, self.classes = shapes, settings, tuple(shapes.classes)
        self.side_px = settings.size_px or SIDE_PX
        settings.check(shapes)
        measured = np.array([f.unit_per_px for f in shapes.fields])
        areas = np.array([f.area for f in shapes.fields])
        patches = np.cumsum(areas / measured**2)  # as many as a crop at random would come from each
        self._field_cdf = patches / patches[-1]
        self._unit_per_px = measured if settings.nm_per_px is None else np.full_like(measured, settings.nm_per_px)
        self._density = np.array([self._densities(f.counts) for f in shapes.fields]) / areas[:, None]
        self._pool = ShapePool(shapes, settings)
        self._margin = np.ceil(self._pool.largest / self._unit_per_px / 2)
        self._excess = np.array([shapes.clustering[name] for name in self.classes])
        self._spacing = {
            "measured": (np.array(shapes.spacing.edges), shapes.spacing.table(self.classes)),
            "forbidden": (np.array([0.0, 1.0]), np.zeros((len(self.classes), len(self.classes), 1))),
            "allowed": None,
        }[settings.overlap]

    def batches(self, seed: int, start: int, stop: int) -> Iterator[MaskBatch]:
        """Masks `start` to `stop` in memory, at most `BLOCK` at once."""
        size = self.side_px
        for first, low, high, block in self._blocks(seed, start, stop):
            drawn = block.drawn
            painted = paint(block.spans, drawn.item, drawn.number, drawn.category + 1, BLOCK, size)
            classes, instances = (array[low:high] for array in painted)
            shown = drawn.take((drawn.item >= low) & (drawn.item < high))
            shown = replace(shown, item=shown.item - low)
            yield MaskBatch(first + low, classes, instances, block.unit_per_px[low:high], shown)

    def masks(self, seed: int, start: int, stop: int) -> Iterator[Micrograph]:
        """Masks `start` to `stop` as patches without a picture, origin `sim`; defect i is number i + 1 of `batches`."""
        for first, low, high, block in self._blocks(seed, start, stop):
            ends = np.searchsorted(block.drawn.item, np.arange(low, high + 1))
            span_ends = np.searchsorted(block.spans.owner, np.arange(len(block.drawn) + 1))
            for item in range(low, high):
                owners = range(ends[item - low], ends[item - low + 1])
                defects = (self._defect(block, owner, slice(*span_ends[owner : owner + 2])) for owner in owners)
                scale = float(block.unit_per_px[item])
                yield self._micrograph(seed, first + item, tuple(defects), scale)

    def _defect(self, block: _Block, owner: int, spans: slice) -> Defect:
        name = self.classes[block.drawn.category[owner]]
        return defect_from_spans(name, block.spans.y[spans], block.spans.start[spans], block.spans.stop[spans])

    def _micrograph(self, seed: int, index: int, defects: tuple[Defect, ...], unit_per_px: float) -> Micrograph:
        side, name = self.side_px, f"sim-{seed}-{index:06d}"
        scale = unit_per_px if self.shapes.unit == "nm" else None
        return Micrograph(name, None, defects, (side, side), scale, scene=name, origin="sim", seed=seed)

    def _blocks(self, seed: int, start: int, stop: int) -> Iterator[tuple[int, int, int, _Block]]:
        """Index of the first mask of each block, which of its masks are asked for, and the block."""
        if seed < 0 or start < 0:
            raise TemDataError(f"masks: seed {seed}, first mask {start}; expected 0 or more")
        for first in range(start // BLOCK * BLOCK, stop, BLOCK):
            yield first, max(start - first, 0), min(stop - first, BLOCK), self._block(seed, first // BLOCK)

    def _block(self, seed: int, number: int) -> _Block:
        rng = np.random.default_rng([seed, number])
        which = np.searchsorted(self._field_cdf, rng.random(BLOCK), side="right")
        if self.settings.empty is None:
            drawn, spans = self._rasterised(self._draw(rng, which))
        else:
            drawn, spans = self._with_empty(rng, which, self.settings.empty)
        return _Block(self._unit_per_px[which], drawn, spans)

    def _with_empty(self, rng: np.random.Generator, which: np.ndarray, empty: float) -> tuple[Drawn, Spans]:
        """Masks that are to have defects are drawn until they do."""
        missing, found = rng.random(BLOCK) >= empty, []
        for _ in range(TRIES):
            drawn, _ = self._rasterised(self._draw(rng, which))
            found.append(drawn.take(missing[drawn.item]))
            missing[drawn.item] = False
            if not missing.any():
                break
        else:
            raise SettingError(
                "masks",
                "empty",
                f"{TRIES} tries left a mask without defects; raise masks.density or the size of masks, "
                "or leave masks.empty null",
            )
        joined = Drawn(*(np.concatenate(column) for column in zip(*(vars(d).values() for d in found), strict=True)))
        return self._rasterised(joined.take(np.argsort(joined.item, kind="stable")))

    def _draw(self, rng: np.random.Generator, which: np.ndarray) -> Drawn:
        """The defects of a block whose masks are like the fields `which`, on canvases larger than the masks."""
        settings = self.settings
        scale, margin = self._unit_per_px[which], self._margin[which]
        side = self.side_px + 2 * margin
        expected = self._density[which] * ((side * scale) ** 2)[:, None] * self._window(rng, len(which))
        counts = rng.poisson(expected)
        category = np.repeat(np.tile(np.arange(len(self.classes)), len(which)), counts.ravel())
        item = np.repeat(np.arange(len(which)), counts.sum(1))
        order = np.lexsort((rng.random(len(item)), item))  # which class lies where, and who gives way, is by chance
        category = category[order]
        model, major, aspect, angle = self._pool.draw(rng, which[item], category)

        def place(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            spot = rng.random((2, numbers.size)) * side[item[numbers]] - margin[item[numbers]]
            return spot[0], spot[1]

        x, y = place(np.arange(len(item)))
        major = major / scale[item]
        ellipses = Ellipses(x, y, major, major * aspect, angle, item, category)
        kept = np.ones(len(item), bool)
        if self._spacing is not None:
            edges, remaining = self._spacing
            ellipses, moved = keep_apart(rng, ellipses, edges, remaining, place)
            kept = ~moved if settings.overlap == "forbidden" else kept
        kept &= (major * scale[item] >= (settings.min_size or 0)) & (
            major * scale[item] <= (settings.max_size or np.inf)
        )
        number = np.zeros(len(item), int)
        e = ellipses
        return Drawn(item, number, category, model, e.x, e.y, e.major, e.minor, e.angle_deg).take(kept)

    def _window(self, rng: np.random.Generator, items: int) -> np.ndarray:
        """How dense a window is relative to its micrograph: gamma factors of mean 1, `(items, classes)`."""
        clustered = np.maximum(self._excess, 1e-6)
        return rng.gamma(1 / clustered, clustered, (items, len(self.classes)))

    def _rasterised(self, drawn: Drawn) -> tuple[Drawn, Spans]:
        """The defects that show at least a pixel, numbered within their masks, and their spans."""
        size = self.side_px
        reach = drawn.major / 2 + 1
        near = np.all([(reach + c > 0) & (c - reach < size) for c in (drawn.x, drawn.y)], 0)
        drawn = drawn.take(near)
        spans = self._spans(drawn)
        shows = spans.areas(len(drawn)) > 0
        renumbered = np.cumsum(shows) - 1
        drawn = drawn.take(shows)
        first = np.searchsorted(drawn.item, drawn.item)
        numbered = replace(drawn, number=np.arange(len(drawn)) - first + 1)
        return numbered, Spans(renumbered[spans.owner], spans.y, spans.start, spans.stop)

    def _spans(self, drawn: Drawn) -> Spans:
        size = self.side_px
        outlined = np.array([bool(self.shapes.classes[name].outlines) for name in self.classes])[drawn.category]
        if not outlined.any():
            return ellipse_spans(drawn.ellipses, size)
        by_ellipse = ellipse_spans(drawn.take(~outlined).ellipses, size)
        numbers = np.flatnonzero(outlined)
        by_outline = mask_spans([self._outlined(drawn, number) for number in numbers])
        owner = np.concatenate([np.flatnonzero(~outlined)[by_ellipse.owner], numbers[by_outline.owner]])
        order = np.argsort(owner, kind="stable")
        rest = ((getattr(s, name) for s in (by_ellipse, by_outline)) for name in ("y", "start", "stop"))
        return Spans(owner[order], *(np.concatenate(list(parts))[order] for parts in rest))

    def _outlined(self, drawn: Drawn, number: int | np.integer) -> Defect | None:
        """The measured outline of a defect's model, at the place and of the size and angle that were drawn."""
        name, model = self.classes[drawn.category[number]], int(drawn.model[number])
        fitted = self.shapes.classes[name]
        points = np.reshape(fitted.outlines[model], (-1, 2)) * drawn.major[number] / fitted.major[model]
        turn = np.deg2rad(drawn.angle_deg[number] - fitted.angle_deg[model])
        turned = points @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        at = turned + (drawn.x[number], drawn.y[number])
        return defect_from_polygons(name, [at.ravel()], (self.side_px, self.side_px))

    def _densities(self, counts: Mapping[str, float]) -> list[float]:
        factor = self.settings.density
        return [
            counts[name] * factor * self.settings.class_density.get(name, 1.0)
            if self.shapes.classes[name].major
            else 0.0
            for name in self.classes
        ]
