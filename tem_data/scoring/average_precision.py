"""COCO's average precision, for readers from computer vision."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pycocotools import mask as rle_ops
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tem_data.scoring.labels import Labels

AP50, AP75 = 0, 5  # among COCO's IoUs 0.50:0.05:0.95


class AveragePrecision(NamedTuple):
    """Means over the classes that have a truth, in [0, 1]; None where none has."""

    ap: float | None
    ap50: float | None
    ap75: float | None
    by_class: dict[str, float]


def average_precision(
    truths: Mapping[str, Labels], predictions: Mapping[str, Labels], classes: Sequence[str], match: str = "mask"
) -> AveragePrecision:
    """COCO's AP (mean over IoU 0.50:0.05:0.95), AP50 and AP75 of masks or boxes, computed by pycocotools.

    `truths` and `predictions` map image names to `Labels`. By COCO's rules each
    class is matched by itself, surest first, so AP also falls where a defect is
    found but taken for another class; ambiguous truths are crowd regions of
    every class. All predictions of an image count, not only the first 100.
    """
    ids = {name: number for number, name in enumerate(truths, 1)}
    truth = [t for name in truths for t in _annotations(truths[name], ids[name], range(len(classes)))]
    found = [p for name in predictions for p in _annotations(predictions[name], ids[name], ())]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress there
        evaluation = COCOeval(
            _dataset(ids, truth, classes), _dataset(ids, found, classes), "segm" if match == "mask" else "bbox"
        )
        evaluation.params.maxDets = [max([len(p) for p in predictions.values()], default=1)]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # (IoUs, recalls, classes), -1 where a class has no truth
    held = [k for k in range(len(classes)) if (precision[:, :, k] > -1).all()]
    if not held:
        return AveragePrecision(None, None, None, {})
    of_held = precision[:, :, held].mean(1)
    return AveragePrecision(
        float(of_held.mean()),
        float(of_held[AP50].mean()),
        float(of_held[AP75].mean()),
        {classes[k]: float(precision[:, :, k].mean()) for k in held},
    )


def _annotations(labels: Labels, image: int, crowds_of: Sequence[int]) -> Iterator[dict[str, Any]]:
    for i in range(len(labels)):
        crowd = bool(labels.ignore[i])
        shape = {"bbox": labels.boxes[i].tolist(), "area": float(labels.boxes[i][2:].prod())}
        if labels.rles is not None:
            shape |= {"segmentation": labels.rles[i], "area": float(rle_ops.area(labels.rles[i]))}
        for category in crowds_of if crowd else [int(labels.category[i])]:
            yield shape | {
                "image_id": image,
                "category_id": category,
                "iscrowd": int(crowd),
                "score": float(labels.scores[i]),
            }


def _dataset(ids: Mapping[str, int], annotations: Sequence[dict], classes: Sequence[str]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number, "height": 0, "width": 0} for number in ids.values()],  # read, but never used
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes)],
        "annotations": [{"id": number, **item} for number, item in enumerate(annotations, 1)],
    }
    coco.createIndex()
    return coco
