import pytest

from tem_data.core.errors import TemDataError
from tem_data.importing.matching import ImageFolder

FILES = ("a.tif", "b c.png", "two.png", "two.jpg", "deep/e.png", "x.ome.tif", "11aa22bb-z.png", "00000000-y.png")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images/deep").mkdir(parents=True)
    for name in FILES:
        (tmp_path / "images" / name).touch()
    (tmp_path / "outside.png").touch()
    return tmp_path / "images"


@pytest.mark.parametrize(
    "name, found",
    [
        ("a.tif", "a.tif"),
        ("a", "a.tif"),
        ("a.png", "a.tif"),
        ("C:\\data\\a.jpeg", "a.tif"),
        ("data/images/a.tif", "a.tif"),
        ("b%20c.png", "b c.png"),
        ("../b%20c.jpg", "b c.png"),
        ("two.jpg", "two.jpg"),
        ("deep/e.png", "deep/e.png"),
        ("x.png", "x.ome.tif"),
        ("x.ome", "x.ome.tif"),
        ("0123abcd-a.png", "a.tif"),
        ("11aa22bb-z.png", "11aa22bb-z.png"),
        ("a_tif.rf.0a1b2c3d4e5f.jpg", "a.tif"),
    ],
)
def test_an_image_is_found_by_its_name(folder, name, found):
    assert ImageFolder(folder).find(name) == (folder / found, "")


@pytest.mark.parametrize("name", ["c.png", "", "../outside.png", "deep", "a_mask.png"])
def test_what_is_not_there(folder, name):
    path, why = ImageFolder(folder).find(name)
    assert path is None and why == f"expected in the folder {folder}"


def test_two_images_of_one_stem_are_told_apart_by_their_suffix(folder):
    assert ImageFolder(folder).find("two") == (None, "two.jpg and two.png could be meant; name it with its suffix")


def test_what_label_files_add_to_the_stem(folder):
    assert ImageFolder(folder, "_mask").find("a_mask.png") == (folder / "a.tif", "")


def test_no_folder(tmp_path):
    with pytest.raises(TemDataError, match="nowhere: expected a folder of images"):
        ImageFolder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("a_mask.png", "; if it is a.tif, set `mask_suffix` to _mask"),
        ("A-Labels.tif", "; if it is a.tif, set `mask_suffix` to -Labels"),
        ("b c.results.csv", "; if it is b c.png, set `mask_suffix` to .results"),
        ("mask_a.png", "; if it is a.tif, rename the label files: only what stands behind the name can be left out"),
        ("another.png", ""),
    ],
)
def test_what_to_do_about_a_name_with_more_in_it(folder, name, hint):
    assert ImageFolder(folder).hint(name) == hint


@pytest.mark.parametrize("name", ["Bild_\xe4 1.png", "Bild_a\u0308%201.PNG", "bild_\xe4 1"])
def test_letters_written_in_another_way(folder, name):
    (folder / "Bild_a\u0308 1.tif").touch()
    assert ImageFolder(folder).find(name) == (folder / "Bild_a\u0308 1.tif", "")


def test_a_suffix_may_be_given_with_that_of_the_file(folder):
    assert ImageFolder(folder, "_mask.png").find("a_mask.png") == (folder / "a.tif", "")


def test_masks_beside_images_are_no_images(folder):
    (folder / "a_mask.png").touch()
    assert "a_mask" not in ImageFolder(folder, "_mask").by_stem and "a_mask" in ImageFolder(folder).by_stem
