import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import count_by_class, defect_from_ellipse, paste
from tem_data.importing.checking import alignment
from tem_data.importing.micrographs import import_micrographs
from tem_data.importing.settings import ImportSettings


def imported(settings):
    given = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    return import_micrographs(ImportSettings(**given), progress=False)[:2]


HEADER = "file_name,class,x_px,y_px,major_px,minor_px,angle_deg\n"
FECRAL = {
    "classes": {"111": ["111"], "bdot": ["bdot", "bd"], "100": ["100", "100_1", "100_2"]},
    "ignored": ["ambiguous"],
}


@pytest.fixture
def ellipses(tmp_path):
    """Makes a folder of 64 × 48 px images and an ellipse table; gives the settings that import them."""

    def make(rows, images=("a.png",), **settings):
        (tmp_path / "images").mkdir()
        for name in images:
            Image.fromarray(np.full((48, 64), 90, np.uint8)).save(tmp_path / "images" / name)
        (tmp_path / "e.csv").write_text(HEADER + "\n".join(rows) + "\n")
        paths = {"images": str(tmp_path / "images"), "annotations": str(tmp_path / "e.csv")}
        return {"source": "ellipses", "classes": ["loop", "dot"]} | paths | settings

    return make


def reasons(quarantine):
    return {(row["item"], row["reason"], row["action"]) for row in quarantine.rows}


def test_each_fault_is_found_and_said(ellipses):
    rows = [
        "a.png,loop,20,20,10,8,0",
        "a.png,loop,20,20,10,8,0",
        "a.png,loop,20,30,nan,8,0",
        "a.png,loop,20,30,0,8,0",
        "a.png,loop,62,30,12,8,0",
        "a.png,dot,90,30,12,8,0",
        "a.png,what,20,40,5,5,0",
        "a.png,,20,40,5,5,0",
        "a.png,dot,20.5,40.5,0.2,0.2,0",
        "a.png,dot,20,40.2,0.2,0.2,0",
        "gone.png,dot,20,40,5,5,0",
        "a.png,,,,,,",
    ]
    (micrograph,), quarantine = imported(ellipses(rows, ("a.png", "more.png")))
    assert reasons(quarantine) == {
        ("row 3", "duplicate shape", "set aside"),
        ("row 4", "bad shape", "set aside"),
        ("row 5", "bad shape", "set aside"),
        ("row 6", "leaves the image", "clipped"),
        ("row 7", "outside the image", "set aside"),
        ("row 8", "unknown class", "set aside"),
        ("row 9", "no class", "set aside"),
        ("row 13", "no class", "set aside"),
        ("row 11", "bad shape", "set aside"),
        ("", "missing image", "set aside"),
        ("", "no labels", "set aside"),
        ("", "no calibration", "kept"),
    }
    assert len(quarantine.rows) == 12
    right = [(d.category, d.bbox[0] + d.bbox[2]) for d in micrograph.defects]
    assert right == [("loop", 25), ("loop", 64), ("dot", 21)]
    assert (micrograph.micrograph_id, micrograph.shape, micrograph.nm_per_px) == ("a", (48, 64), None)


def test_a_shape_in_two_classes_is_kept_once_and_ignored(ellipses):
    shape, other = "20,20,10,8,0", "40,20,10,8,0"
    rows = [f"a.png,{name},{shape}" for name in ("L1", "L2", "dot")] + [f"a.png,loop,{other}"]
    settings = ellipses(rows, classes={"loop": ["L1", "L2", "loop"], "dot": "dot"})
    (micrograph,), quarantine = imported(settings)
    assert [(d.category, d.ignore) for d in micrograph.defects] == [("loop", True), ("loop", False)]
    duplicate, conflicting = quarantine.rows[:2]
    assert (duplicate["item"], duplicate["reason"]) == ("row 3", "duplicate shape")
    assert (conflicting["item"], conflicting["reason"]) == ("row 4", "conflicting class")
    assert conflicting["detail"] == "dot here, L1 in row 2, which is kept but ignored"


def test_names_classes_and_calibration(ellipses, tmp_path):
    (tmp_path / "c.csv").write_text("file_name,nm_per_px,thickness_nm,specimen\na.png,0.5,,steel\nb.png,,80,\n")
    rows = [f"{name},{label},20,20,10,8,0" for name, label in (("a.png", "L1"), ("a.jpg", "L2"), ("b.png", "?"))]
    settings = ellipses(rows, ("a.png", "a.jpg", "b.png")) | {
        "classes": {"loop": ["L1", "L2"], "dot": ["dot"]},
        "ignored": {"unsure": "?"},
        "calibration": str(tmp_path / "c.csv"),
    }
    micrographs, quarantine = imported(settings)
    assert [(m.micrograph_id, m.nm_per_px, m.thickness_nm, m.specimen) for m in micrographs] == [
        ("a.png", 0.5, None, "steel"), ("a.jpg", None, None, ""), ("b", None, 80, "")
    ]  # fmt: skip
    assert [(d.category, d.ignore) for m in micrographs for d in m.defects] == [
        ("loop", False), ("loop", False), ("unsure", True)
    ]  # fmt: skip
    assert quarantine.counts()["no calibration"] == 2
    assert ImportSettings(**settings).schema.labels == ("loop", "dot", "unsure")
    (tmp_path / "c.csv").write_text("file_name,nm_per_px\na.png,-3\n")
    with pytest.raises(TemDataError, match="c.csv: row 2, nm_per_px"):
        imported(settings)


def test_large_images_are_halved_with_their_calibration_and_what_vanishes_is_said(ellipses, tmp_path):
    (tmp_path / "c.csv").write_text("file_name,nm_per_px\na.png,0.5\n")
    rows = ["a.png,loop,20,20,12,12,0", "a.png,dot,40.5,40.5,1,1,0"]
    settings = ellipses(rows, calibration=str(tmp_path / "c.csv"), max_side=40)
    (micrograph,), quarantine = imported(settings)
    assert (micrograph.shape, micrograph.nm_per_px, micrograph.defects[0].bbox) == ((24, 32), 1.0, (7, 7, 6, 6))
    assert reasons(quarantine) == {("1 labels", "bad shape", "set aside")}


def test_a_table_whose_centres_lie_outside_is_set_aside(ellipses):
    rows = [f"a.png,loop,{x},20,5,5,0" for x in range(10, 60, 10)]
    strange = [f"b.png,loop,{x},20,5,5,0" for x in (10, 70, 80, 90)]
    micrographs, quarantine = imported(ellipses(rows + strange, ("a.png", "b.png")))
    assert [m.micrograph_id for m in micrographs] == ["a"]
    (row,) = (r for r in quarantine.rows if r["reason"] == "labels of another image")
    assert row["file"] == "b.png" and row["detail"].startswith("3 of 4 centres")


def test_alignment_tells_the_own_table_from_another():
    rng = np.random.default_rng(1)
    shape = 300, 400
    tables = [
        [defect_from_ellipse("x", *rng.uniform((10, 10, 8, 8, 0), (390, 290, 20, 20, 180)), shape) for _ in range(25)]
        for _ in range(2)
    ]
    image = rng.normal(120, 20, shape).clip(0, 255).astype(np.uint8)
    for defect in tables[0]:
        paste(image, defect, 100)
    assert alignment(image, tables[0]) > 7 and alignment(image, tables[1]) < 3.5


def test_coco_sizes_and_areas(tmp_path):
    Image.new("L", (20, 10)).save(tmp_path / "a.png")
    Image.new("L", (20, 10)).save(tmp_path / "b.png")
    square = [[2, 2, 8, 2, 8, 8, 2, 8]]
    content = {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 20, "height": 10},
            {"id": 2, "file_name": "b.png", "width": 10, "height": 20},
        ],
        "categories": [{"id": 1, "name": "loop"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": square, "area": 36},
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [[9, 2, 15, 2, 15, 8, 9, 8]], "area": 40},
            {"id": 3, "image_id": 2, "category_id": 1, "segmentation": square, "area": 36},
        ],
    }
    (tmp_path / "c.json").write_text(json.dumps(content))
    settings = {"source": "coco", "images": tmp_path, "annotations": tmp_path / "c.json", "classes": "loop"}
    (micrograph,), quarantine = imported(settings)
    assert [d.area for d in micrograph.defects] == [36, 36]
    assert reasons(quarantine) == {
        ("annotation 2", "wrong area", "recomputed"),
        ("", "size mismatch", "set aside"),
        ("", "no calibration", "kept"),
        ("", "no image", "left alone"),
    }


def test_calibration_is_found_without_the_folder_too(ellipses, tmp_path):
    (tmp_path / "c.csv").write_text("file_name,nm_per_px\na.png,0.5\nx/b.png,0.25\n")
    rows = [f"x/{name}.png,loop,20,20,10,8,0" for name in "ab"]
    settings = ellipses(rows, ("a.png", "b.png"), calibration=str(tmp_path / "c.csv"))
    micrographs, _ = imported(settings)
    assert [(m.micrograph_id, m.nm_per_px) for m in micrographs] == [("a", 0.5), ("b", 0.25)]


def test_two_names_of_one_image(ellipses):
    rows = ["a.png,loop,20,20,10,8,0", "there/a.png,loop,40,20,10,8,0"]
    (micrograph,), quarantine = imported(ellipses(rows))
    assert len(micrograph.defects) == 1 and ("", "duplicate id", "set aside") in reasons(quarantine)


def test_unreadable_image(ellipses, tmp_path):
    settings = ellipses(["a.png,loop,20,20,10,8,0", "b.png,loop,20,20,10,8,0"])
    (tmp_path / "images/b.png").write_bytes(b"no picture")
    micrographs, quarantine = imported(settings)
    assert [m.micrograph_id for m in micrographs] == ["a"] and quarantine.counts()["unreadable image"] == 1
    Image.fromarray(np.full((64, 64), np.nan, np.float32)).save(tmp_path / "images/b.png", "TIFF")
    micrographs, quarantine = imported(settings)
    assert [m.micrograph_id for m in micrographs] == ["a"] and quarantine.counts()["unreadable image"] == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"source": "xml"}, "import.source.*coco"),
        ({"images": "nowhere"}, "nowhere: expected a folder"),
        ({"annotations": "nothing.csv"}, "nothing.csv: expected a CSV"),
        ({"clases": []}, "import.clases: unknown key"),
        ({"classes": {"x": ["1"], "y": ["1"]}}, "1 stands in two classes"),
        ({"source": "fiji", "class_numbers": {"one": "x"}}, "import.class_numbers"),
        ({"source": "masks"}, "import.mask_values"),
    ],
)
def test_settings_that_cannot_work(ellipses, change, named):
    with pytest.raises(TemDataError, match=named):
        imported(ellipses(["a.png,loop,20,20,10,8,0"]) | change)


PLACES = ((12, 10), (40, 14), (22, 30), (70, 35), (55, 50), (80, 12))


@pytest.fixture
def discs(tmp_path):
    """Makes one image of dark discs with noise, 100 × 60 px, and an ellipse table of them; gives the settings."""

    def make(save, source="ellipses", scale=1.0, **settings):
        image = np.full((60, 100), 170, np.uint8)
        for x, y in PLACES:
            paste(image, defect_from_ellipse("loop", x, y, 12, 12, 0, image.shape), 90)
        image = np.clip(image + np.random.default_rng(0).normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        save(image, tmp_path / "images")
        lengths = [[round(scale * n, 4) for n in (x, y, 12, 12)] for x, y in PLACES]
        if source == "fiji":
            rows = ["X,Y,Major,Minor,Angle", *(",".join(map(str, [*row, 0])) for row in lengths)]
        else:
            rows = [HEADER.strip(), *(",".join(map(str, ["a", "loop", *row, 0])) for row in lengths)]
        (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
        paths = {"images": str(tmp_path / "images"), "annotations": str(tmp_path / "a.csv")}
        return {"source": source, "classes": ["loop"]} | paths | settings

    return make


def stored_turned(orientation, turn=lambda image: image):
    def save(image, folder):
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(np.ascontiguousarray(turn(image))).save(folder / "a.png", exif=exif)

    return save


def test_labels_of_the_picture_as_it_is_displayed_count(discs):
    for orientation, turn in ((2, np.fliplr), (3, lambda v: np.rot90(v, 2)), (4, np.flipud), (6, np.rot90)):
        (micrograph,), quarantine = imported(discs(stored_turned(orientation, turn)))
        assert set(quarantine.counts()) == {"no calibration"}
        assert [np.median(micrograph.pixels[y - 3 : y + 3, x - 3 : x + 3]) < 110 for x, y in PLACES] == [True] * 6


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_labels_of_the_picture_as_it_is_stored_are_set_aside(discs, orientation):
    micrographs, quarantine = imported(discs(stored_turned(orientation)))
    assert micrographs == [] and quarantine.rows[0]["reason"] == "labels of another image"
    assert "they fit the picture as it is stored" in quarantine.rows[0]["detail"]
    assert f"its orientation {orientation}" in quarantine.rows[0]["detail"]


def with_bar(image, folder):
    bar = np.zeros((20, 100), np.uint8)
    cv2.putText(bar, "200 kV 50 nm", (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 255)
    Image.fromarray(np.vstack([image, bar])).save(folder / "a.png")


@pytest.mark.parametrize("rows", [80, 60])
@pytest.mark.parametrize("bar", ["auto", 20])
def test_labels_may_be_of_the_picture_with_or_without_its_data_bar(discs, tmp_path, rows, bar):
    settings = discs(with_bar, data_bar=bar)
    mask = np.zeros((rows, 100), np.uint8)
    for x, y in PLACES:
        paste(mask, defect_from_ellipse("loop", x, y, 12, 12, 0, mask.shape), 255)
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks/a.png")
    (micrograph,), quarantine = imported(settings | {"source": "masks", "annotations": tmp_path / "masks"})
    assert micrograph.shape == (60, 100) and len(micrograph.defects) == 6
    assert quarantine.counts() == {"no calibration": 1, "data bar": 1}


def test_a_bar_that_was_cut_and_is_not_found_is_guessed_at(discs, tmp_path):
    settings = discs(with_bar, data_bar=0)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.eye(60, 100, dtype=np.uint8)).save(tmp_path / "masks/a.png")
    _, quarantine = imported(settings | {"source": "masks", "annotations": tmp_path / "masks"})
    assert "set `data_bar` to 20" in quarantine.rows[0]["detail"]


def test_a_table_in_another_unit_of_an_image_without_a_scale_is_doubted(discs):
    def plain(image, folder):
        Image.fromarray(image).save(folder / "a.png")

    assert imported(discs(plain, "fiji"))[1].counts() == {"no calibration": 1}
    (_,), quarantine = imported(discs(plain, "fiji", scale=0.5))
    assert quarantine.counts() == {"no calibration": 1, "unclear unit": 1}
    assert "taken to be in px, which fits the image little" in quarantine.rows[0]["detail"]


def test_masks_in_the_folder_of_their_images_need_a_suffix(discs, tmp_path):
    def both(image, folder):
        Image.fromarray(image).save(folder / "a.png")
        Image.fromarray((image < 130) * np.uint8(255)).save(folder / "a_mask.png")

    settings = discs(both) | {"annotations": tmp_path / "images"}
    for source in ("masks", "auto"):
        with pytest.raises(TemDataError, match="images and masks are in one folder; set `mask_suffix`"):
            imported(settings | {"source": source})
    (micrograph,), quarantine = imported(settings | {"source": "masks", "mask_suffix": "_mask"})
    assert micrograph.micrograph_id == "a" and len(micrograph.defects) == 6
    assert quarantine.counts() == {"no calibration": 1}


@pytest.mark.slow
def test_known_faults_of_the_fecral_ellipses(shared):
    data = shared / "data/fecral"
    settings = {
        "source": "ellipses", "images": data / "images", "annotations": data / "ellipses.csv",
        "calibration": data / "micrographs.csv", "max_side": 1024, **FECRAL,
    }  # fmt: skip
    micrographs, quarantine = imported(settings)
    found = Counter(row["reason"] for row in quarantine.rows)
    assert (found["bad shape"], found["duplicate shape"], found["no calibration"]) == (1, 13, 0)
    others = {row["file"][-8:-4] for row in quarantine.rows if row["reason"] == "labels of another image"}
    assert others == {"0027", "0003"}
    # 8,707 rows less the NaN, the duplicates and the two tables
    assert len(micrographs) == 75 and sum(count_by_class(micrographs).values()) == 8707 - 1 - 13 - 126 - 69
    assert all(max(m.shape) == 1024 for m in micrographs)


def test_known_faults_of_the_fecral_polygons(shared):
    data = shared / "data/fecral"
    settings = {"source": "coco", "images": data / "images", "annotations": data / "polygons.json", **FECRAL}
    micrographs, quarantine = imported(settings)
    found = Counter(row["reason"] for row in quarantine.rows)
    assert found == {
        "leaves the image": 2,
        "wrong area": 2295,
        "box elsewhere": 1,
        "no labels": 63,
        "no calibration": 36,
    }
    assert sum(count_by_class(micrographs).values()) == 2295


def test_fecral_raw_fiji_tables_are_the_ellipse_table(shared):
    data = shared / "data/fecral"
    numbers = {0: "111", 1: "bdot", 2: "100", 3: "ambiguous", 4: "ambiguous", 5: "ambiguous"}
    settings = {
        "source": "fiji", "images": data / "images", "annotations": data / "fiji_raw",
        "class_numbers": numbers, **FECRAL,
    }  # fmt: skip
    micrographs, quarantine = imported(settings)
    assert [(m.micrograph_id[-4:], len(m.defects)) for m in micrographs] == [("0006", 24), (" (3)", 50), ("0007", 44)]
    assert quarantine.counts()["no class"] == 1


def test_loops_by_polygons_and_by_masks_agree(shared):
    data = shared / "data/loops_316l"
    settings = {"images": data / "images", "classes": ["hcloop"]}
    by_polygon, _ = imported(settings | {"source": "coco", "annotations": data / "annotations.json"})
    by_mask, _ = imported(settings | {"source": "masks", "annotations": data / "masks"})
    assert len(by_polygon) == len(by_mask) == 12
    assert (count_by_class(by_polygon), count_by_class(by_mask)) == ({"hcloop": 123}, {"hcloop": 124})
    masks = {m.micrograph_id: m for m in by_mask}
    for micrograph in by_polygon:
        drawn, given = (np.zeros(micrograph.shape, np.uint8) for _ in range(2))
        for canvas, defects in ((drawn, micrograph.defects), (given, masks[micrograph.micrograph_id].defects)):
            for defect in defects:
                paste(canvas, defect, 1)
        assert (drawn & given).sum() / (drawn | given).sum() > 0.85
