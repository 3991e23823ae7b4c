"""What kind of labels a file or folder holds."""

import json

import numpy as np
import pytest
from PIL import Image

from tem_data.core.errors import TemDataError
from tem_data.importing.sources import kind_of

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
