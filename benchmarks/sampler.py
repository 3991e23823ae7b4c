"""Masks a second on one core and on several, against the published approach in the same run.

`python benchmarks/sampler.py` fits built-in micrographs, draws masks of 256×256 px with FeCrAl's 5.2 defects a
patch, class mask and instance map in memory, and has the published approach (pandas rows, a matplotlib figure a
mask) draw the same kind of masks.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import time
from multiprocessing import get_context

import numpy as np
from published_sampler import draw_published, fit_published, sample_published

from tem_data.masks.sampler import BLOCK, MaskSampler
from tem_data.masks.settings import MaskSettings
from tem_data.masks.shapes import fit_shapes
from tem_data.patches.cutting import tiles
from tem_data.simulation.micrographs import simulate

SIZE, NM_PER_PX, DEFECTS, CLASSES = 256, 0.478516, 5.2, ("100", "111", "bdot")


def sampler_of(micrographs: list) -> MaskSampler:
    """One that draws `DEFECTS` centres a mask."""
    shapes = fit_shapes(micrographs, CLASSES)
    density = sum(sum(f.counts.values()) for f in shapes.fields) / sum(f.area for f in shapes.fields)
    return MaskSampler(shapes, MaskSettings(SIZE, density=DEFECTS / (density * (SIZE * NM_PER_PX) ** 2)))


def draw(sampler: MaskSampler, start: int, stop: int) -> int:
    return sum(len(batch.class_masks) for batch in sampler.batches(0, start, stop))


def rate(sampler: MaskSampler, count: int) -> tuple[float, float]:
    """Masks a second by the clock and by the time that the processor spent on them."""
    clock, spent = time.perf_counter(), time.process_time()
    draw(sampler, 0, count)
    return count / (time.perf_counter() - clock), count / (time.process_time() - spent)


def _share(sampler: MaskSampler, start: int, stop: int, barrier, done) -> None:
    draw(sampler, start, start + 4 * BLOCK)
    barrier.wait()
    clock, spent = time.perf_counter(), time.process_time()
    draw(sampler, start, stop)
    done.put((clock, time.perf_counter(), time.process_time() - spent))


def rate_of(processes: int, sampler: MaskSampler, count: int) -> tuple[float, float]:
    """As `rate`, of processes that share the masks; the second is that of one process."""
    context = get_context("fork")
    barrier, done = context.Barrier(processes), context.Queue()
    edges = (np.linspace(0, count // BLOCK, processes + 1).astype(int) * BLOCK).tolist()
    shares = itertools.pairwise(edges)
    workers = [context.Process(target=_share, args=(sampler, *share, barrier, done)) for share in shares]
    for worker in workers:
        worker.start()
    started, ended, spent = zip(*(done.get() for _ in workers), strict=True)
    for worker in workers:
        worker.join()
    return edges[-1] / (max(ended) - min(started)), edges[-1] / sum(spent)


def published_rate(micrographs: list, count: int) -> float:
    fit, rng = fit_published(tiles(micrographs, SIZE), CLASSES), np.random.default_rng(0)
    draw_published(sample_published(fit, SIZE, rng), CLASSES, SIZE)
    clock = time.perf_counter()
    for _ in range(count):
        draw_published(sample_published(fit, SIZE, rng), CLASSES, SIZE)
    return count / (time.perf_counter() - clock)


def memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=1600 * BLOCK)
    parser.add_argument("--published", type=int, default=100, help="masks of the published approach")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    args = parser.parse_args()
    micrographs = list(simulate(8, 1024, NM_PER_PX))
    sampler = sampler_of(micrographs)
    draw(sampler, 0, 4 * BLOCK)

    few = memory_mb()
    one, of_core = rate(sampler, args.masks)
    grown = memory_mb() - few
    several, of_each = rate_of(args.processes, sampler, args.masks)
    published = published_rate(micrographs, args.published)
    print(f"masks of {SIZE}×{SIZE} px, {DEFECTS} defects each")
    print(f"one process         {one:9.0f} masks/s  ({of_core:.0f} a second of processor time)")
    print(f"{args.processes:2} processes        {several:9.0f} masks/s  ({of_each:.0f} a second of processor time)")
    print(f"published approach  {published:9.1f} masks/s  (1/{one / published:.0f} of one process)")
    print(f"memory grew by {grown:.0f} MB over {args.masks} masks")


if __name__ == "__main__":
    main()
