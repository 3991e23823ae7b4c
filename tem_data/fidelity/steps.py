"""The fidelity report of a checkpoint: what its pictures are worth beside real ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tem_data.core.files import atomic_write, write_json, write_table
from tem_data.core.micrograph import Micrograph
from tem_data.core.schema import read_classes, read_rows
from tem_data.detection.features import detector_features
from tem_data.diffusion.autoencoder import Autoencoder, psnr
from tem_data.fidelity.adherence import COLUMNS, Panel, adherence_rows, change, details, judge, panel_of
from tem_data.fidelity.comparison import PictureComparison, compare_pictures
from tem_data.fidelity.text import describe, page_sections
from tem_data.fidelity.texture import measure_textures
from tem_data.judges.judges import load_judges
from tem_data.reports.page import write_report
from tem_data.scoring.evaluation import EvaluationSettings
from tem_data.training.averaged import evenly_spaced

COMPARED = 600
JUDGED_REAL = 400
SHOWN = 18


def compare_pairs(
    patches: str | os.PathLike,
    pairs: str | os.PathLike,
    autoencoder: Autoencoder,
    judges: str | os.PathLike,
    out: str | os.PathLike,
    settings: EvaluationSettings,
    seed: int,
    title: str,
) -> dict[str, Any]:
    """Compare a data set of generated pairs with the patches that its model was trained on; write a report to `out`.

    `judges` is a folder. Returns what `fidelity.json` holds. Raises TemDataError as `read_rows` and `panel_of` do.
    """
    training, validation, generated = (
        read_rows(*of) for of in ((patches, "train"), (patches, "validation"), (pairs, "train"))
    )
    panel = panel_of(load_judges(judges), validation, read_classes(patches).names, settings.thresholds, settings)
    with atomic_write(out) as draft:
        draft.mkdir()
        return measure_fidelity(draft, training, validation, generated, autoencoder, panel, seed, title)


def measure_fidelity(
    folder: str | os.PathLike,
    training: Sequence[Micrograph],
    validation: Sequence[Micrograph],
    generated: Sequence[Micrograph],
    autoencoder: Autoencoder,
    panel: Panel,
    seed: int,
    title: str,
) -> dict[str, Any]:
    """Judge and compare generated pairs; write `adherence.csv`, figures, `fidelity.json` and `report.html`.

    Returns what `fidelity.json` holds: `adherence` of as many real training patches (by
    the judge that has not seen them), of the same reconstructed by the
    autoencoder, and of the generated pairs; `reconstruction`, what the
    autoencoder costs; and `pictures`, as `compare_pictures` gives it.
    """
    folder, chosen = Path(folder), evenly_spaced(len(training), min(JUDGED_REAL, len(generated)))
    real = [training[i] for i in chosen]
    images = np.stack([patch.image for patch in real])
    decoded = autoencoder.decode(autoencoder.encode(images), range(len(real)))
    rebuilt = [replace(patch, image=image) for patch, image in zip(real, decoded, strict=True)]
    sets = {"real": real, "reconstructed": rebuilt, "generated": list(generated)}
    judged = {kind: judge(panel, pairs) for kind, pairs in sets.items()}
    rows = [row for kind, pairs in sets.items() for row in adherence_rows(kind, pairs, judged[kind])]
    write_table(folder / "adherence.csv", rows, COLUMNS)

    def features(pictures: np.ndarray) -> np.ndarray:
        return np.concatenate([detector_features(member.detector, pictures) for member in panel.judges], 1)

    compared = compare_pictures(training, validation, generated, panel.classes, features, seed, COMPARED)
    summary = {
        "classes": list(panel.classes),
        "adherence": {kind: details(of_kind, seed) for kind, of_kind in judged.items()},
        "reconstruction": {"psnr_db": psnr(images, decoded)} | change(judged["real"], judged["reconstructed"], seed),
        "pictures": compared.summary,
    }
    write_json(folder / "fidelity.json", summary)
    _draw(folder, compared, panel.classes, decoded)
    write_report(folder / "report.html", title, describe(summary), page_sections(folder, summary))
    return summary


def _draw(folder: Path, compared: PictureComparison, classes: Sequence[str], decoded: np.ndarray) -> None:
    from tem_data.fidelity import figures

    rebuilt = measure_textures(decoded)
    figures.radial_spectra(folder / "spectra", compared, rebuilt)
    figures.grey_histograms(folder / "grey", compared, rebuilt)
    figures.contrasts_by_class(folder / "contrast", compared, classes)
    figures.closest_pairs(folder / "nearest", compared.nearest, "nearest in features")
    figures.closest_pairs(folder / "copies", compared.copies, "highest correlation of grey levels")
    real, generated = (_some(measured.pictures) for measured in (compared.training, compared.generated))
    figures.real_and_generated(folder / "sheet", real, generated)


def _some(pictures: Sequence[Micrograph]) -> list[Micrograph]:
    return [pictures[i] for i in evenly_spaced(len(pictures), SHOWN)]
