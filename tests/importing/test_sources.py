"""What kind of labels a file or folder holds."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from roifile import ImagejRoi

from tem_data.core.errors import TemDataError
from tem_data.importing.micrographs import import_micrographs
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.settings import ImportSettings
from tem_data.importing.sources import kind_of, read_labels

CONTENT = {
    "coco": {"images": [], "annotations": [], "categories": []},
    "labelme": {"version": "5", "shapes": [], "imagePath": "a.png", "imageHeight": 4, "imageWidth": 4},
    "via": {"_via_settings": {}, "_via_img_metadata": {}},
    "label_studio": [{"id": 1, "data": {"image": "a.png"}, "annotations": []}],
    "geojson": {"type": "FeatureCollection", "features": []},
}
TABLES = {
    "ellipses": 'file_name,class,x_px,y_px,major_px,minor_px,angle_deg\n"a.png",loop,1,1,1,1,0\n',
    "fiji": " ,Area,X,Y,Major,Minor,Angle\n1,1,1,1,1,1,1\n",
    "via": "filename,region_shape_attributes\na.png,{}\n",
}


@pytest.mark.parametrize("kind", CONTENT)
def test_json(tmp_path, kind):
    (tmp_path / "labels").mkdir()
    path = tmp_path / "labels/a.json"
    path.write_text(json.dumps(CONTENT[kind]))
    assert kind_of(path) == kind and kind_of(path.parent) == kind


@pytest.mark.parametrize("kind", TABLES)
def test_tables(tmp_path, kind):
    (tmp_path / "a.csv").write_text(TABLES[kind])
    (tmp_path / "a_log.txt").write_text("0\n1\n")
    assert kind_of(tmp_path / "a.csv") == kind and kind_of(tmp_path) == kind


@pytest.mark.parametrize("name, kind", [("a_RoiSet.zip", "rois"), ("a.roi", "rois"), ("a.xml", "cvat")])
def test_other_files(tmp_path, name, kind):
    (tmp_path / name).touch()
    assert kind_of(tmp_path) == kind


def test_rois_in_folders_of_their_own(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/0001.roi").touch()
    assert kind_of(tmp_path) == "rois"


def test_masks(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    assert kind_of(tmp_path) == "masks"
    (tmp_path / "a.json").write_text(json.dumps(CONTENT["labelme"]))
    assert kind_of(tmp_path) == "labelme"  # images lie beside their labels


def test_what_is_not_known_or_not_clear(tmp_path):
    with pytest.raises(TemDataError, match="nowhere: no such file or folder"):
        kind_of(tmp_path / "nowhere")
    with pytest.raises(TemDataError, match="no such file; expected COCO, LabelMe"):
        kind_of(tmp_path)
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(TemDataError, match="a.csv: none of the labels that are known"):
        kind_of(tmp_path / "a.csv")
    (tmp_path / "a.json").write_text(json.dumps(CONTENT["labelme"]))
    (tmp_path / "b.json").write_text(json.dumps(CONTENT["geojson"]))
    with pytest.raises(TemDataError, match="1 of the kind labelme, 1 of the kind geojson; choose one by `source`"):
        kind_of(tmp_path)


def test_zips_that_are_no_roisets(tmp_path):
    (tmp_path / "labels").mkdir()
    path = tmp_path / "labels/task.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations/instances_default.json", json.dumps(CONTENT["coco"]))
    named = r"task.zip \(a zip that holds annotations/instances_default.json; unpack it"
    for place in (path, path.parent):
        with pytest.raises(TemDataError, match=named if place != path else "unpack it"):
            kind_of(place)
    (path.parent / "a.json").write_text(json.dumps(CONTENT["labelme"]))
    assert kind_of(path.parent) == "labelme"


def test_labels_in_subfolders_are_named(tmp_path):
    for name in ("train", "valid"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "_annotations.coco.json").write_text(json.dumps(CONTENT["coco"]))
    with pytest.raises(TemDataError, match=r"in its subfolders train \(coco\), valid \(coco\); give one of them"):
        kind_of(tmp_path)


def test_what_a_file_of_no_kind_holds_is_said(tmp_path):
    path = tmp_path / "a.json"
    for content, seen in (
        ({"data": {}}, "JSON: an object with 'data'"),
        ([{"image": "a.png", "annotator": 1}], "JSON: a list of objects with 'image', 'annotator'"),
        ([], r"JSON: \[\]"),
    ):
        path.write_text(json.dumps(content))
        for place in (path, tmp_path):
            with pytest.raises(TemDataError, match=seen):
                kind_of(place)


@pytest.mark.parametrize("content", [[{"image_id": 1, "category_id": 1}], {"images": [], "categories": []}])
def test_what_is_meant_for_coco_is_left_to_its_reader(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert kind_of(tmp_path) == "coco"


def test_a_damaged_file_among_others_is_of_their_kind(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(CONTENT["labelme"]))
    (tmp_path / "b.json").write_text('{"shapes": [')
    assert kind_of(tmp_path) == "labelme"
    (tmp_path / "a.json").unlink()
    assert kind_of(tmp_path) == "coco"


def labelme(path, name, places):
    circles = [{"label": "loop", "shape_type": "circle", "points": [[x, 9], [x + 4, 9]]} for x in places]
    path.write_text(
        json.dumps(CONTENT["labelme"] | {"shapes": circles, "imagePath": name, "imageHeight": 20, "imageWidth": 60})
    )


@pytest.mark.parametrize("first, second, kept", [((), (9, 30), (9, 30)), ((9, 30), (), (9, 30)), ((9,), (9, 30), (9,))])
def test_an_image_with_two_files_is_there_once(tmp_path, first, second, kept):
    (tmp_path / "labels").mkdir()
    Image.fromarray(np.full((20, 60), 90, np.uint8)).save(tmp_path / "a.png")
    labelme(tmp_path / "labels/1.json", "a.png", first)
    labelme(tmp_path / "labels/2.json", "a.png", second)
    settings = ImportSettings(source="auto", images=str(tmp_path), annotations=str(tmp_path / "labels"))
    micrographs, quarantine, *_ = import_micrographs(settings, progress=False)
    assert [[round(d.x + 4) for d in m.defects] for m in micrographs] == [list(kept)]
    (row,) = [row for row in quarantine.rows if row["reason"] == "duplicate id"]
    lost = len(first) + len(second) - len(kept)
    assert row["detail"] == f"other labels name the same image; {lost} labels"


@pytest.mark.parametrize("name", ["RoiSet.zip", "0012-0034.roi"])
def test_names_that_imagej_gives_by_itself_are_those_of_no_image(tmp_path, name):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((20, 60), 90, np.uint8)).save(tmp_path / "images/a.png")
    roi = ImagejRoi.frompoints(np.array([[2, 2], [9, 2], [9, 9]]))
    roi.name = "loop"
    roi.tofile(tmp_path / name)
    given = {"images": str(tmp_path / "images"), "annotations": str(tmp_path / name)}
    with pytest.raises(TemDataError, match="does not say of which image it is; name a zip as its image"):
        read_labels(ImportSettings(source="rois", **given), Quarantine())
    (tmp_path / "images/a.png").rename(tmp_path / "images" / f"{name[:-4]}.png")
    (table,) = read_labels(ImportSettings(source="rois", **given), Quarantine())
    assert len(table.labels) == 1


def test_a_source_that_is_given_is_not_found_out_again(tmp_path):
    (tmp_path / "a.csv").write_text(TABLES["fiji"])
    (tmp_path / "a_RoiSet.zip").write_bytes(b"")
    (tmp_path / "a.json").write_text(json.dumps(CONTENT["labelme"]))
    settings = ImportSettings(source="fiji", images=str(tmp_path), annotations=str(tmp_path), classes=["loop"])
    assert [table.file_name for table in read_labels(settings, Quarantine())] == ["a"]
