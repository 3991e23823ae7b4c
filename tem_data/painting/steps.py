"""The step that paints new defects into the patches of a data set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from tem_data.core.errors import TemDataError
from tem_data.core.files import is_main_process, move, work_folder
from tem_data.core.micrograph import Micrograph
from tem_data.core.schema import Classes, common_classes, read_dataset, read_rows, write_readme, write_shard
from tem_data.diffusion.generation import GenerationRequest, generate
from tem_data.diffusion.pipeline import KnownPictures
from tem_data.diffusion.settings import GenerationSettings
from tem_data.diffusion.steps import conditioning_of, find_ldm, load_pipeline, made_by, painted_classes
from tem_data.judges.confirming import confirmed
from tem_data.judges.judges import Judge, load_judges
from tem_data.painting.placing import Placement, place_defects
from tem_data.painting.settings import PaintSettings
from tem_data.patches.blending import blend_weight

Folder = str | os.PathLike


def paint_dataset(
    ldm: Folder,
    patches: Folder,
    masks: Folder,
    out: Folder,
    settings: PaintSettings,
    generation: GenerationSettings,
    seed: int,
    judges: Folder | None = None,
) -> dict[str, Any]:
    """Paint defects of drawn masks into training patches: a data set of origin `paint` in `out`.

    Outside the reach of its new defects a patch keeps its pixels. Where `settings.confirm` is set, `judges` is the
    folder that `train_judges_on` wrote of these patches, and a new defect that they do not confirm is neither painted
    nor labelled. Returns the numbers of `masks` and `patches` and, by class, of `defects` `requested` and `kept`. An
    interrupted run resumes after its last shard. Raises TemDataError as `find_ldm`, `place_defects` and
    `load_judges` do.
    """
    _, checkpoint = find_ldm(ldm)
    model = ldm if Path(ldm).is_dir() else checkpoint
    training = read_rows(patches, "train")
    count = settings.count or round(settings.per_patch * len(training))
    classes, drawn = common_classes([patches, masks]), list(read_dataset(masks))
    placements = list(place_defects(training, drawn, count, settings.share, seed))
    print(f"{count} patches to paint into, {generation.num_inference_steps} steps each")
    panel = _panel(judges, settings)
    inputs = patches, masks, *([judges] if judges else [])
    with work_folder(out, [checkpoint, settings, generation, seed], *inputs) as work:
        _paint(model, masks, placements, classes, settings, generation, panel, work)
        if is_main_process():
            move(work, out)
    counted = _counted(placements, read_rows(out, "train"), classes.names)
    print(
        f"{out}: {count} patches; kept " + ", ".join(f"{n['kept']} of {n['requested']} {c}" for c, n in counted.items())
    )
    return {"masks": len(drawn), "patches": count, "defects": counted}


def _panel(judges: Folder | None, settings: PaintSettings) -> list[Judge]:
    if settings.confirm is None:
        return []
    if judges is None:
        raise TemDataError(
            "defects cannot be confirmed without judges; give a folder of judges, or set paint.confirm null"
        )
    return load_judges(judges)


def _paint(
    ldm: Folder,
    masks: Folder,
    placements: Sequence[Placement],
    classes: Classes,
    settings: PaintSettings,
    generation: GenerationSettings,
    judges: Sequence[Judge],
    folder: Path,
) -> None:
    pipeline, checkpoint = load_pipeline(ldm)
    names = painted_classes(pipeline, ldm, masks)
    origin = made_by("paint", checkpoint, generation)

    def requests() -> Iterator[GenerationRequest]:
        for placement in placements:
            patch, new, seed = placement
            told = conditioning_of(replace(patch, defects=(*patch.defects, *new)), names)
            region = KnownPictures(patch.pixels, blend_weight(new, patch.shape) > 0)
            yield GenerationRequest(placement, told, seed, region)

    def write(path: Path, shard: Sequence[Placement], images: np.ndarray) -> None:
        painted = [blended(placement, image) for placement, image in zip(shard, images, strict=True)]
        if judges:
            found = confirmed(judges, painted, settings.confirm or 0)
            kept = [p._replace(new=_confirmed(p, of_pair)) for p, of_pair in zip(shard, found, strict=True)]
            painted = [blended(placement, image) for placement, image in zip(kept, images, strict=True)]
        write_shard(path, [replace(patch, **origin) for patch in painted], classes)

    generate(pipeline, requests(), write, folder / "data", generation, total=len(placements))
    if is_main_process():
        write_readme(folder, classes, f"Patches with defects painted in by checkpoint {checkpoint}.")
    PartialState().wait_for_everyone()


def blended(placement: Placement, image: np.ndarray) -> Micrograph:
    """The patch with its new defects as `image` (height, width) uint8 shows them; elsewhere it keeps its pixels."""
    patch, new, seed = placement
    weight = blend_weight(new, patch.shape)
    mixed = np.rint((1 - weight) * patch.pixels + weight * image).astype(np.uint8)
    return replace(patch, image=mixed, defects=(*patch.defects, *new), origin="paint", seed=seed)


def _confirmed(placement: Placement, found: np.ndarray) -> tuple:
    own = len(placement.patch.defects)
    return tuple(d for d, seen in zip(placement.new, found[own:], strict=True) if seen)


def _counted(
    placements: Sequence[Placement], painted: Sequence[Micrograph], classes: Sequence[str]
) -> dict[str, dict[str, int]]:
    counted = {name: {"requested": 0, "kept": 0} for name in classes}
    for placement, patch in zip(placements, painted, strict=True):
        for defect in placement.new:
            counted[defect.category]["requested"] += 1
        for defect in patch.defects[len(placement.patch.defects) :]:
            counted[defect.category]["kept"] += 1
    return counted
