"""What makes scores say something else than they seem to: files that do not belong together, cuts, few images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from scipy.optimize import linear_sum_assignment

from tem_data.coco.reading import CocoFile
from tem_data.coco.results import Cut
from tem_data.scoring.labels import Labels
from tem_data.scoring.scores import Scores

SUSPICIOUS = 3  # truths and predictions of which none meet by more than chance
ENOUGH = 10  # pairs, from which it can be told that classes are exchanged
FEW_IMAGES = 10  # below which a bootstrap over images falls short
LEAST_CUT = 0.05  # confidence, up to which detectors are commonly cut before AP is computed


def warn_of_nothing(
    truths: Mapping[str, Labels], predictions: Mapping[str, Labels], scores: Sequence[Scores], warnings: Counter[str]
) -> None:
    """Warn where there is nothing to compare, or nothing meets, as of files that do not belong together."""
    least = min(s.threshold for s in scores)
    true = sum(int((~labels.ignore).sum()) for labels in truths.values())
    found = [float(score) for labels in predictions.values() for score in labels.scores[~labels.ignore]]
    if not true:
        warnings["images, none of which has a truth that counts"] = len(truths)
    if not found:
        warnings["images, none of which has a prediction that counts"] = len(truths)
    elif max(found) < least:
        best_score = f"(the best has {max(found):.3g})"
        warnings[f"predictions, none of which reaches the lowest threshold {least:g} {best_score}"] = len(found)
    elif min(true, len(found)) >= SUSPICIOUS and not any(s.f1_detect for s in scores):
        warnings["predictions, none of which meets a truth; see that images, ids and px are the same"] = len(found)


def warn_of_exchanged(scores: Scores, warnings: Counter[str]) -> None:
    """Warn where most pairs would agree if classes had each other's names, as where ids are numbered otherwise."""
    confusion = scores.counts.confusion
    pairs, (rows, columns) = int(confusion.sum()), linear_sum_assignment(-confusion)
    gain = confusion[rows, columns].sum() - confusion.trace()
    if pairs < ENOUGH or gain <= pairs / 2:
        return
    moved = [f"{scores.classes[i]} as {scores.classes[k]}" for i, k in zip(rows, columns, strict=True) if i != k]
    warnings[f"matched pairs, of which most took {', '.join(moved)}; see that classes are numbered alike"] = pairs


def warn_of_twins(kind: str, labels: Labels, warnings: Counter[str]) -> None:
    """Warn of shapes that one image has twice in a class, as where files were joined; each of them counts."""
    shapes = Counter(
        (int(labels.category[i]), labels.rles[i]["counts"] if labels.rles else tuple(labels.boxes[i].tolist()))
        for i in range(len(labels))
        if not labels.ignore[i]
    )
    if twins := sum(count - 1 for count in shapes.values()):
        warnings[f"{kind} that repeat the shape and class of another, each counted"] += twins


def notes_of_cut(cut: Cut, thresholds: Sequence[float]) -> list[str]:
    """What the cut of the predictions means for their scores, in words."""
    notes = []
    if cut.threshold > min(thresholds):
        notes.append(f"predictions were cut at {cut}; lower thresholds say nothing and are left out")
    if cut.threshold > LEAST_CUT:
        start = f"AP counts predictions from {cut.threshold:.4g} on only"
        notes.append(f"{start}, so that it is too low to compare with one of all")
    return notes


def notes_of_images(truth: CocoFile, intervals: bool) -> list[str]:
    """What images without labels, and few images, mean for the scores, in words."""
    notes = []
    if bare := [image.file_name or key for key, image in truth.images.items() if not truth.instances[key]]:
        images = f"{len(bare)} of {len(truth.images)} images have no label, as {bare[0]}"
        notes.append(f"{images}: they count as free of defects")
    if intervals and len(truth.images) < FEW_IMAGES:
        notes.append(f"intervals over {len(truth.images)} images only are too narrow")
    return notes
