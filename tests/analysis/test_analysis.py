"""From a folder of micrographs to a folder of numbers, outlines and pictures."""

import csv
import json
import math

import numpy as np
import pytest
import tifffile
from PIL import Image
from pycocotools.coco import COCO

from tem_data.analysis.measuring import DEFECT_COLUMNS, MICROGRAPH_COLUMNS
from tem_data.analysis.settings import AnalysisSettings
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json
from tem_data.importing.micrographs import import_micrographs
from tem_data.importing.settings import ImportSettings
from tests.analysis.conftest import CUT, DOT, LOOP, SHAPE, picture

EVERYTHING = ("rois", "labelme", "coco", "geojson", "overlays")


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_gives_tables_outlines_pictures_and_a_page(run, images, tmp_path):
    summary = run(images, save=EVERYTHING, nm_per_px=0.5)
    out = tmp_path / "out"
    assert files(out) == sorted(
        ["defects.csv", "micrographs.csv", "quarantine.csv", "summary.json", "report.html", "found.json", "trust.json"]
        + ["rois", "labelme", "geojson", "overlays"]
    )
    for kind, suffix in {"rois": "zip", "labelme": "json", "geojson": "geojson", "overlays": "png"}.items():
        assert files(out / kind) == [f"{name}.{suffix}" for name in ("a 1", "b", "empty")]
    assert summary == read_json(out / "summary.json") and summary["micrographs"] == 3
    assert {name: row["count"] for name, row in summary["classes"].items()} == {"loop": 1, "dot": 3, "all": 4}
    assert files(tmp_path) == ["images", "out"]  # nothing is left of the work


def test_a_row_for_each_defect(run, images, tmp_path):
    run(images, nm_per_px=0.5)
    found = rows(tmp_path / "out" / "defects.csv")
    assert tuple(found[0]) == DEFECT_COLUMNS
    assert [(row["image"], row["id"], row["class"]) for row in found] == [
        ("a 1.png", "1", "loop"), ("a 1.png", "2", "dot"), ("a 1.png", "3", "dot"), ("b.tif", "1", "dot")
    ]  # fmt: skip
    loop, cut, dot = found[:3]
    assert (float(loop["x_px"]), float(loop["y_px"])) == (20, 16) and float(loop["x_nm"]) == 10
    assert float(loop["area_px2"]) == 240 and float(loop["area_nm2"]) == 60
    # a rectangle has the moments of an ellipse with axes in its proportion
    assert float(loop["major_px"]) / float(loop["minor_px"]) == pytest.approx(20 / 12, rel=1e-4)
    assert math.pi / 4 * float(loop["major_px"]) * float(loop["minor_px"]) == pytest.approx(240, rel=1e-4)
    assert float(loop["angle_deg"]) == 0 and float(loop["confidence"]) == 0.74
    assert float(loop["size_nm"]) == pytest.approx(float(loop["size_px"]) / 2)
    assert (cut["cut_by_edge"], dot["cut_by_edge"], dot["reviewed"]) == ("True", "False", "False")


def test_the_numbers_of_a_micrograph_have_their_errors(run, images, tmp_path):
    run(images, nm_per_px=0.5, thickness_nm=100.0)
    found = {(row["image"], row["class"]): row for row in rows(tmp_path / "out" / "micrographs.csv")}
    assert tuple(next(iter(found.values()))) == MICROGRAPH_COLUMNS
    dots, all_of_them = found["a 1.png", "dot"], found["a 1.png", "all"]
    area = SHAPE[0] * SHAPE[1] * 0.25
    assert float(dots["area_nm2"]) == area and (dots["count"], dots["cut"]) == ("2", "1")
    areal = float(dots["areal_density_1e-4_per_nm2"])
    assert areal == pytest.approx(2 / area * 1e4, rel=1e-5)
    assert float(dots["error_of_areal_density_1e-4_per_nm2"]) == pytest.approx(areal / math.sqrt(2), rel=1e-5)
    assert float(dots["volume_density_1e21_per_m3"]) == pytest.approx(areal, rel=1e-5)  # of a foil of 100 nm
    assert (float(dots["count_low"]), float(dots["count_high"])) == pytest.approx((0.2422, 7.2247), abs=1e-3)
    assert dots["error_of_mean_size_nm"] == ""  # of the one that no edge cuts
    assert float(all_of_them["error_of_mean_size_nm"]) > 0
    assert float(all_of_them["hardening_quadrature_mpa"]) > 0 and dots["hardening_linear_mpa"] == ""
    empty = found["empty.png", "all"]
    assert (empty["count"], empty["areal_density_1e-4_per_nm2"], empty["mean_size_nm"], empty["doubt"]) == (
        "0", "0", "", ""
    )  # fmt: skip
    assert float(empty["count_high"]) == pytest.approx(3.689, abs=1e-3)


def test_a_micrograph_without_a_scale_has_numbers_in_px_only(run, images, tmp_path, capsys):
    summary = run(images)
    row = rows(tmp_path / "out" / "micrographs.csv")[0]
    assert row["mean_size_px"] and not any(row[name] for name in row if "nm" in name)
    assert "calibration unknown" in row["note"] and len(summary["without_nm_per_px"]) == 3
    assert "3 micrographs without a known scale (a 1.png, …): give --calibration" in capsys.readouterr().out
    assert rows(tmp_path / "out" / "defects.csv")[0]["size_nm"] == ""


def test_the_scale_is_the_given_one_else_the_tables_else_the_files(run, images, tmp_path):
    tifffile.imwrite(images / "c.tif", picture(DOT), imagej=True, resolution=(4, 4), metadata={"unit": "nm"})
    table = tmp_path / "calibration.csv"
    table.write_text("file_name,nm_per_px,thickness_nm\na 1.png,0.5,80\nnobody.png,1,\n")
    run(images, calibration=table)
    scales = {row["image"]: (row["nm_per_px"], row["thickness_nm"]) for row in rows(tmp_path / "out/micrographs.csv")}
    assert scales == {"a 1.png": ("0.5", "80"), "b.tif": ("", ""), "c.tif": ("0.25", ""), "empty.png": ("", "")}
    unused = rows(tmp_path / "out" / "quarantine.csv")[0]
    assert unused["reason"] == "unused row" and "nobody.png" in unused["detail"]
    run(images, calibration=table, nm_per_px=0.4, out="given")
    given = {(row["nm_per_px"], row["thickness_nm"]) for row in rows(tmp_path / "given/micrographs.csv")}
    assert given == {("0.4", "80"), ("0.4", "")}


def test_what_is_found_is_one_coco_file(run, images, tmp_path):
    run(images)
    content = read_json(tmp_path / "out" / "found.json")
    assert content["info"]["tem_data"] == {"threshold": 0.5, "model": "org/bright@v1"}
    assert [image["file_name"] for image in content["images"]] == ["a 1.png", "b.tif", "empty.png"]
    coco = COCO(tmp_path / "out" / "found.json")
    assert sorted(coco.getAnnIds()) == [1, 2, 3, 4] and coco.getAnnIds(imgIds=[2]) == [4]
    mask = coco.annToMask(coco.loadAnns([1])[0])
    left, top, width, height = LOOP
    assert mask.sum() == width * height and mask[top : top + height, left : left + width].all()
    assert [annotation["score"] for annotation in coco.loadAnns([1, 3])] == pytest.approx([0.74, 0.536])


@pytest.mark.parametrize("kind", ["rois", "labelme", "found.json", "geojson"])
def test_corrections_come_back_to_the_pixel(run, images, tmp_path, kind):
    blob = np.array([[0, 1, 1, 0], [1, 0, 1, 1], [1, 1, 1, 0], [0, 0, 0, 1]], bool)  # a hole, and a part at a corner
    image = picture(LOOP, DOT, CUT)
    image[40:44, 20:24][blob] = 210
    Image.fromarray(image).save(images / "a 1.png")
    run(images, save=EVERYTHING)
    settings = ImportSettings(
        source="auto", images=str(images), annotations=str(tmp_path / "out" / kind), min_alignment=None, max_side=None
    )
    labelled = {m.micrograph_id: m for m in import_micrographs(settings, progress=False).micrographs}
    drawn = {(d.category, d.bbox, d.mask.tobytes()) for d in labelled["a 1"].defects}
    boxes = [("loop", LOOP), ("dot", DOT), ("dot", CUT)]
    expected = {(name, box, np.ones(box[:1:-1], bool).tobytes()) for name, box in boxes}
    rest = [d for d in labelled["a 1"].defects if d.y >= 40]
    assert drawn >= expected and sum(d.area for d in rest) == blob.sum()


def test_data_bars_are_not_searched(run, detector, tmp_path):
    image = picture((10, 10, 20, 12), (40, 48, 8, 16), shape=(80, 90))
    image[64:] = 0
    for left in range(4, 80, 8):
        image[70:74, left : left + 4] = 255
    Image.fromarray(image).save(tmp_path / "barred.png")
    run(tmp_path / "barred.png", nm_per_px=1.0, save=EVERYTHING)
    assert detector.seen == [(64, 90)]
    row = rows(tmp_path / "out" / "micrographs.csv")[-1]
    assert (row["height_px"], row["area_nm2"], row["count"]) == ("80", str(64 * 90), "2")
    assert "data bar of 16 rows left out" in row["note"]
    assert rows(tmp_path / "out" / "defects.csv")[1]["cut_by_edge"] == "True"
    assert read_json(tmp_path / "out/labelme/barred.json")["imageHeight"] == 80
    run(tmp_path / "barred.png", data_bar=0, out="whole")
    assert detector.seen[-1] == (80, 90)


def test_each_frame_of_a_stack_is_a_micrograph(run, images, tmp_path):
    stack = np.stack([picture(DOT), picture(LOOP), picture(DOT, CUT)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    run(tmp_path / "stack.tif")
    counts = [row["count"] for row in rows(tmp_path / "out/micrographs.csv") if row["class"] == "all"]
    assert counts == ["1", "1", "2"] and files(tmp_path / "out/rois") == [
        "stack_f1.zip",
        "stack_f2.zip",
        "stack_f3.zip",
    ]
    names = [image["file_name"] for image in read_json(tmp_path / "out/found.json")["images"]]
    assert names == ["stack_f1.tif", "stack_f2.tif", "stack_f3.tif"]
    summary = run(tmp_path / "stack.tif", images / "b.tif", frame=2, out="second")
    assert summary["classes"]["loop"]["count"] == 1 and summary["micrographs"] == 2
    with pytest.raises(TemDataError, match="--frame 4: it has 3 frames"):
        run(tmp_path / "stack.tif", frame=4, out="none")


def test_files_that_cannot_be_read_are_set_aside(run, images, tmp_path):
    (images / "broken.png").write_bytes(b"no picture")
    whole = (images / "a 1.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])  # its header is whole
    (images / "notes.txt").write_text("x")
    summary = run(images)
    assert (summary["micrographs"], summary["set_aside"]) == (3, 2)
    reasons = {row["file"]: (row["reason"], row["action"]) for row in rows(tmp_path / "out" / "quarantine.csv")}
    assert reasons == {
        "broken.png": ("unreadable image", "set aside"),
        "cut.png": ("unreadable image", "set aside"),
        f"1 files .txt in {images}": ("no image", "left alone"),
    }
    assert "broken.png" in (tmp_path / "out" / "report.html").read_text()


def test_where_none_can_be_read_nothing_is_left(run, tmp_path):
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(TemDataError, match="none of 2 images can be searched .x.png: .*; y.png: "):
        run(tmp_path / "x.png", tmp_path / "y.png")
    Image.fromarray(picture(DOT)).save(tmp_path / "z.png")
    (tmp_path / "z.png").write_bytes((tmp_path / "z.png").read_bytes()[:1500])
    with pytest.raises(TemDataError, match="none of 1 image can be searched .z.png: "):
        run(tmp_path / "z.png")
    assert files(tmp_path) == ["x.png", "y.png", "z.png"]


def test_a_scale_that_cannot_be_costs_one_micrograph(run, images, tmp_path):
    table = tmp_path / "calibration.csv"
    table.write_text("file_name,nm_per_px\nb.tif,500\n")
    assert run(images, calibration=table)["set_aside"] == 1
    assert rows(tmp_path / "out" / "quarantine.csv")[0]["reason"] == "scale out of range"


@pytest.mark.parametrize(
    "values, said",
    [
        ({"save": ("rois", "xlsx")}, "--save xlsx: expected some of rois, labelme"),
        ({"nm_per_px": 0.0}, "--nm-per-px 0: no pixel size"),
        ({"thickness_nm": -1.0}, "--thickness-nm -1: expected a number above 0"),
    ],
)
def test_settings_that_cannot_be(values, said):
    with pytest.raises(TemDataError, match=said):
        AnalysisSettings(**values)


def test_the_threshold_is_the_given_one_else_the_detectors(run, images, tmp_path, capsys):
    run(images)
    assert "threshold 0.5: the default, as the detector states none" in capsys.readouterr().out
    summary = run(images, threshold=0.7, out="sure")
    assert (summary["threshold"], summary["classes"]["all"]["count"]) == (0.7, 1)
    assert read_json(tmp_path / "sure" / "found.json")["info"]["tem_data"]["threshold"] == 0.7


def test_texts_of_tables_are_no_formulas_and_those_of_the_page_no_html(run, tmp_path):
    names = ("=cmd.png", "<img src=x onerror=alert(1)>.png", "-1.png")
    for name in names:
        Image.fromarray(picture(DOT)).save(tmp_path / name)
    run(*(tmp_path / name for name in names))
    assert [row["image"] for row in rows(tmp_path / "out/defects.csv")] == ["'=cmd.png", names[1], "'-1.png"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<img src=x" not in page and "&lt;img src=x" in page
    assert json.loads((tmp_path / "out/found.json").read_text())["images"][0]["file_name"] == "=cmd.png"


def test_the_page_shows_the_doubtful_first_and_links_to_the_overlays(run, images, tmp_path):
    Image.fromarray(picture((5, 5, 25, 16))).save(images / "sure.png")
    run(images, nm_per_px=0.5)
    page = (tmp_path / "out" / "report.html").read_text()
    places = [page.index(f'href="overlays/{name}.png"') for name in ("b", "a%201", "sure", "empty")]
    assert places == sorted(places)
    run(images, nm_per_px=0.5, save=(), out="bare")
    assert "overlays/" not in (tmp_path / "bare" / "report.html").read_text()
    assert not (tmp_path / "bare" / "found.json").exists()
