"""Seconds and peak memory of a detector on whole micrographs, by their size and number.

    python -m benchmarks.predicting DETECTOR

`DETECTOR` is a folder that `train-detector` wrote. The micrographs are simulated, at a scale that it was trained at.
The plain way, in the same run, draws the masks of all that is found on every tile, and leaves out what is not wanted
afterwards. Each size is measured in a process of its own, the least of three times, with as many threads as
OMP_NUM_THREADS says.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from tem_data.core.micrograph import Defect
from tem_data.detection.tiling import MARGIN, OnTile, Wanted

SIDES = (256, 1024, 2048)
LARGEST = 8192
NUMBERS = (1, 10, 30)
REPEATS = 3


def micrograph(side: int, nm_per_px: float) -> np.ndarray:
    """A simulated micrograph of 512 px, repeated until it fills a square of `side` px."""
    from tem_data.simulation.micrographs import simulate

    image = next(iter(simulate(1, 512, nm_per_px, seed=0))).pixels
    return np.tile(image, (-(-side // 512), -(-side // 512)))[:side, :side]


def measured(folder: str, way: str, side: int, number: int, repeats: int) -> dict[str, float]:
    """Seconds per micrograph and peak memory of this process."""
    from tem_data.detection.detector import Detector
    from tem_data.detection.prediction import predict_patches

    class Plain(Detector):
        def find(self, crops: Sequence[np.ndarray], threshold: float, wanted: Wanted) -> list[OnTile]:
            found = predict_patches(self, crops, progress=False)
            return [
                OnTile([d for d in defects if d.score >= threshold and wanted(k, _centre(d), MARGIN).item()], 0.0)
                for k, defects in enumerate(found)
            ]

    detector = (Plain if way == "plain" else Detector).from_pretrained(folder)
    scale = detector.about.nm_per_px
    image = micrograph(side, scale.median if scale else 1.0)
    detector.predict(image[:256, :256])
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(number):
            found = detector.predict(image)
        seconds.append((time.perf_counter() - start) / number)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    tiles = detector.plan(image.shape).tiles
    return {"tiles": tiles, "defects": len(found.defects), "seconds": min(seconds), "peak_gib": peak}


def _centre(defect: Defect) -> np.ndarray:
    x, y, w, h = defect.bbox
    return np.array([[x + w / 2, y + h / 2]])


def apart(*arguments: object) -> dict[str, float]:
    """`measured` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.predicting", *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def main(folder: str) -> None:
    row = "{:>6} {:>7} {:>6} {:>8} {:>10} {:>10} {:>8} {:>10}"
    print(row.format("px", "number", "tiles", "defects", "seconds", "plain", "ratio", "peak GiB"))
    cases = [(side, 1, REPEATS) for side in SIDES] + [(1024, number, 1) for number in NUMBERS[1:]] + [(LARGEST, 1, 1)]
    for side, number, repeats in cases:
        ours = apart(folder, "ours", side, number, repeats)
        compared = number == 1 and side < LARGEST
        plain = apart(folder, "plain", side, number, repeats)["seconds"] if compared else None
        times = [f"{plain:.2f}", f"{plain / ours['seconds']:.1f}"] if plain else ["", ""]
        figures = [f"{ours['seconds']:.2f}", *times, f"{ours['peak_gib']:.2f}"]
        print(row.format(side, number, ours["tiles"], ours["defects"], *figures), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        where, way, *sizes = sys.argv[1:]
        print(json.dumps(measured(where, way, *map(int, sizes))))
