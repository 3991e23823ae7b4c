"""Defects found on images without a truth, as a whole COCO file that says itself how they were found."""

from __future__ import annotations

from collections.abc import Sequence

from tem_data.coco.polygons import pixel_polygons
from tem_data.coco.writing import coco_truth
from tem_data.core.micrograph import Micrograph
from tem_data.core.schema import Classes
from tem_data.formats.marks import KEY, fingerprint


def coco_found(
    micrographs: Sequence[Micrograph], classes: Classes, file_names: Sequence[str], threshold: float, model: str
) -> dict:
    """Whole COCO instances with a `score` each; ids count from 1.

    Outlines are polygons along pixel edges, which CVAT, Roboflow, napari and
    pycocotools read, the last one to the pixel. `info.tem_data` holds the `model`
    and the `threshold` below which nothing was kept; images and annotations say
    what was proposed, so that `import` counts what was corrected. The pixels of
    `micrographs` are not needed; `file_names` are theirs, in order.
    """
    content = coco_truth(micrographs, classes, file_names)
    defects = (defect for micrograph in micrographs for defect in micrograph.defects)
    for annotation, defect in zip(content["annotations"], defects, strict=True):
        annotation |= {
            "segmentation": pixel_polygons(defect.mask, defect.x, defect.y),
            "score": defect.score,
            KEY: fingerprint(defect, defect.category, False),
        }
    for image, micrograph in zip(content["images"], micrographs, strict=True):
        image[KEY] = {"labels": len(micrograph.defects)}
    for category in content["categories"]:
        category["supercategory"] = "defect"
    info = {
        "description": f"Defects found by {model}, confidence at least {threshold:g}",
        KEY: {"threshold": float(threshold), "model": model},
    }
    return {"info": info, "licenses": [], **content}
