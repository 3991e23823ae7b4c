import json

import numpy as np
from pycocotools import mask as rle_ops
from pycocotools.coco import COCO
from scipy.ndimage import gaussian_filter

from tem_data.coco.faults import Faults
from tem_data.coco.found import coco_found
from tem_data.coco.labels import micrographs_of
from tem_data.coco.polygons import pixel_polygons
from tem_data.coco.reading import read_truth
from tem_data.core.micrograph import Micrograph, defect_from_mask, paste
from tem_data.core.rle import to_rle
from tem_data.core.schema import Classes

CLASSES = Classes(("loop", "dot"))


def any_masks(count, seed=0):
    """Masks of any shape: several parts, holes, pixels that meet at a corner only, the whole image."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        field = gaussian_filter(rng.normal(size=rng.integers(1, 50, 2)), rng.choice([0, 0.7, 2]))
        yield field > rng.choice([-0.3, 0, 0.1])
    yield np.ones((4, 7), bool)


def test_polygons_of_any_mask_are_filled_to_its_pixels():
    for mask in any_masks(200):
        polygons = pixel_polygons(mask)
        filled = rle_ops.decode(to_rle(polygons, *mask.shape)).astype(bool)
        np.testing.assert_array_equal(filled, mask)


def test_defects_found_without_a_truth_are_whole_instances_of_pycocotools(tmp_path, capsys):
    masks = [mask for mask in any_masks(20, seed=1) if mask.any()]
    defects = tuple(
        defect_from_mask(CLASSES.names[k % 2], mask, 3 * k, 2 * k, score=0.4 + 0.01 * k) for k, mask in enumerate(masks)
    )
    micrographs = [Micrograph("a", None, defects, (120, 130)), Micrograph("b", None, (), (20, 30))]
    path = tmp_path / "found.json"
    path.write_text(json.dumps(coco_found(micrographs, CLASSES, ["a.tif", "b.tif"], 0.4, "org/name@v1")))
    found = COCO(str(path))
    found.info()
    assert "'threshold': 0.4" in capsys.readouterr().out
    assert [image["file_name"] for image in found.dataset["images"]] == ["a.tif", "b.tif"]
    assert [c["name"] for c in found.loadCats(found.getCatIds())] == list(CLASSES.names)
    annotations = found.loadAnns(found.getAnnIds(imgIds=[1]))
    assert len(annotations) == len(defects) and not found.getAnnIds(imgIds=[2])
    for annotation, defect in zip(annotations, defects, strict=True):
        mask = np.zeros((120, 130), np.uint8)
        paste(mask, defect, 1)
        np.testing.assert_array_equal(found.annToMask(annotation), mask)
        assert (annotation["iscrowd"], annotation["area"]) == (0, defect.area)
        assert (annotation["bbox"], annotation["score"]) == (list(defect.bbox), defect.score)


def test_defects_found_come_back_to_the_pixel(tmp_path):
    defects = tuple(defect_from_mask("loop", mask, 5, 6, score=0.7) for mask in any_masks(10, seed=2) if mask.any())
    path = tmp_path / "found.json"
    path.write_text(json.dumps(coco_found([Micrograph("a", None, defects, (90, 90))], CLASSES, ["a.tif"], 0.5, "m")))
    (read,) = micrographs_of(read_truth(Faults(path), True, True), lambda name: (name, False), Faults(path))
    for back, defect in zip(read.defects, defects, strict=True):
        assert back.bbox == defect.bbox
        np.testing.assert_array_equal(back.mask, defect.mask)
