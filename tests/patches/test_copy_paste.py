import itertools
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, defect_from_mask, paste, touches_edge
from tem_data.core.schema import Classes, read_dataset, write_dataset
from tem_data.patches.copy_paste import copy_paste_patches, local_background, paste_defects, pasteable

SIZE = 96
CLASSES = Classes(("111", "bdot"), ("ambiguous",))


def square(x, y, side=12, category="111", ignore=False):
    return defect_from_mask(category, np.ones((side, side), bool), x, y, ignore)


def flat(name, grey, *defects, contrast=0.5, **fields):
    """A patch of one grey level, whose defects have `contrast` times it."""
    image = np.full((SIZE, SIZE), grey, np.uint8)
    for defect in defects:
        paste(image, defect, round(contrast * grey))
    return Micrograph(name, image, defects, image.shape, **fields)


def inner(patch, defect):
    """The grey levels in a defect."""
    x, y, w, h = defect.bbox
    return patch.image[y : y + h, x : x + w][defect.mask]


def placed(defects):
    return [(d.category, d.bbox, d.mask.tobytes(), d.ignore) for d in defects]


EMPTY, GIVER = flat("a", 100), flat("b", 200, square(20, 20), square(60, 60, category="bdot"))


def test_a_defect_brings_its_contrast_and_not_its_grey_level():
    pasted = paste_defects(EMPTY, GIVER, GIVER.defects[:1])
    assert (inner(pasted, GIVER.defects[0]) == 50).all()
    assert (inner(pasted, GIVER.defects[1]) == 100).all()  # not chosen
    assert pasted.image.min() == 50 and pasted.image.max() == 100  # nothing shines around it
    assert (pasted.origin, pasted.micrograph_id) == ("copypaste", "a")
    assert placed(pasted.defects) == placed(GIVER.defects[:1])


@settings(deadline=None, max_examples=20)
@given(st.integers(40, 120), st.integers(40, 250), st.floats(0.3, 1.6), st.integers(3, 40), st.integers(0, 56))
def test_contrast_survives_on_any_grey_level(grey, other, contrast, side, place):
    contrast = round(contrast * other) / other  # as 8 bits can hold it
    defect = square(place, 10, side)
    if contrast * other <= 255:
        pasted = paste_defects(flat("a", grey), flat("b", other, defect, contrast=contrast), [defect])
        assert inner(pasted, defect) == pytest.approx(contrast * grey, abs=0.51)


def test_shading_of_either_patch_stays_out_of_a_pasted_defect():
    defect, shading = square(40, 40), np.linspace(100, 200, SIZE)
    donor = flat("b", 0, defect)
    donor = replace(donor, image=np.tile(shading[:, None], SIZE).astype(np.uint8))
    donor.image[40:52, 40:52] = donor.image[40:52, 40:52] // 2
    background = flat("a", 0)
    background = replace(background, image=np.tile(shading, (SIZE, 1)).astype(np.uint8))
    pasted = paste_defects(background, donor, [defect])
    assert inner(pasted, defect).reshape(12, 12) / background.image[40:52, 40:52] == pytest.approx(0.5, abs=0.04)


def test_a_defect_fades_out_without_a_seam():
    """The donor's texture is its own up to the label and gone some px beyond; the background's comes back smoothly."""
    defect = square(40, 40, 16)
    donor = flat("b", 200, defect)
    donor.image[:, ::2] += 20  # stripes
    change = np.abs(paste_defects(EMPTY, donor, [defect]).image[48].astype(int) - 100)
    assert (change[:33] == 0).all() and (change[64:] == 0).all()
    stripes = np.abs(np.diff(paste_defects(EMPTY, donor, [defect]).image[48, 56:64].astype(int)))
    assert stripes[0] >= 9 and stripes[-1] <= 1 and (np.diff(stripes) <= 1).all()


def test_the_noise_is_that_of_one_micrograph():
    rng = np.random.default_rng(0)
    background, donor = (
        replace(p, image=rng.normal(p.image.astype(float), p.image / 10).round().astype(np.uint8))
        for p in (EMPTY, flat("b", 150, square(30, 30, 40)))
    )
    spread = inner(paste_defects(background, donor, donor.defects), donor.defects[0]).std()
    assert spread == pytest.approx(5, rel=0.1)  # a tenth of 50; on top of the background's it were 7


def test_defects_on_one_another_stay_both_visible_with_whole_masks():
    own, other = square(20, 20, 16), square(28, 28, 16, "bdot")
    pasted = paste_defects(flat("a", 160, own), flat("b", 200, other), [other])
    assert placed(pasted.defects) == placed([own, other])
    assert (pasted.image[28:36, 28:36] == 40).all()  # through both
    assert (pasted.image[20:22, 20:22] == 80).all()  # through the own one
    assert pasted.image[43, 43] == 80  # through the pasted one, farther from the own one than its contrast reaches


def test_bright_defects_are_clipped():
    defect = square(40, 40)
    pasted = paste_defects(flat("a", 200), flat("b", 100, defect, contrast=2.0), [defect])
    assert (inner(pasted, defect) == 255).all()


def test_the_local_background_does_not_see_defects():
    defects = square(10, 10, 30), square(60, 50, 8)
    assert local_background(flat("a", 120, *defects)) == pytest.approx(120, abs=0.01)
    assert local_background(flat("a", 0)).min() == 1  # a ratio to it is finite
    everywhere = square(0, 0, SIZE)
    assert local_background(flat("a", 120, everywhere)) == pytest.approx(60, abs=0.01)


def test_what_overlaps_is_pasted_together_and_never_with_an_ignored_one():
    pair = square(10, 10), square(16, 10, category="bdot")
    near_ignored = square(60, 60), square(73, 60, 3, ignore=True)
    alone, ignored = square(10, 60), square(60, 10, ignore=True)
    groups = pasteable(flat("b", 200, *pair, *near_ignored, alone, ignored))
    assert [placed(g) for g in groups] == [placed(pair), placed([alone])]
    assert pasteable(EMPTY) == []


def many(count=12):
    """Patches of three micrographs with defects at random places, some ignored, some patches without any."""
    rng = np.random.default_rng(1)
    patches = []
    for i in range(count):
        x, y = rng.integers(0, SIZE - 12, (2, 4))
        defects = [square(*xy, category=c) for *xy, c in zip(x, y, itertools.cycle(("111", "bdot")))]
        defects[0] = replace(defects[0], ignore=True)
        patches.append(flat("abc"[i % 3], 100 + i, *defects[: i % 5], x=i, scene="s" + "abc"[i % 3], nm_per_px=0.5))
    return patches


def test_a_patch_follows_from_seed_and_index_alone():
    def print_of(patch):
        return patch.image.tobytes(), str(placed(patch.defects)), patch.checkpoint, patch.micrograph_id, patch.x

    few, more, other = (list(map(print_of, copy_paste_patches(many(), n, s))) for n, s in ((5, 3), (9, 3), (5, 4)))
    assert more[:5] == few and len(more) == 9
    assert len(set(few + other)) == 10


def test_a_pasted_patch_is_its_background_and_unchanged_defects_of_another_micrograph():
    patches = many()
    windows = {(p.micrograph_id, p.x): p for p in patches}
    for patch in copy_paste_patches(patches, 20, 0):
        background = windows[patch.micrograph_id, patch.x]
        number = len(background.defects)
        name, _, place = patch.checkpoint.removeprefix("donor:").partition("@")
        donor = windows[name, int(place.split(",")[0])]
        pasted = patch.defects[number:]
        assert placed(patch.defects[:number]) == placed(background.defects)
        assert (patch.origin, patch.scene, patch.seed) == ("copypaste", background.scene, 0)
        assert name != patch.micrograph_id and 0 < len(pasted) <= len(donor.defects)
        assert not any(d.ignore for d in pasted)
        edges = sum(touches_edge(d, donor.shape) for d in donor.defects)
        assert sum(touches_edge(d, patch.shape) for d in pasted) <= edges
        assert (patch.image != background.image).any()


def test_each_class_is_pasted_as_often_as_donors_have_it():
    donor = flat("b", 200, square(10, 10), square(60, 10), square(10, 60), square(60, 60, category="bdot"))
    drawn = [p for p in copy_paste_patches([EMPTY] * 9 + [donor], 120, 0) if p.micrograph_id == "a"]
    found = [d.category for p in drawn for d in p.defects]
    assert found.count("bdot") / len(found) == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / len(found)))
    # half of four, given that it is not none: 2 / (1 - 1/16) on average, with standard deviation 0.86
    assert len(found) / len(drawn) == pytest.approx(2.133, abs=4 * 0.86 / np.sqrt(len(drawn)))


def test_pixel_sizes_are_never_mixed():
    scales = {"a": 0.50, "b": 0.54, "c": 0.70, "d": None, "e": None, "f": 1.5}
    patches = [flat(name, 100, square(30, 20), nm_per_px=scale) for name, scale in scales.items()]
    pairs = {(p.micrograph_id, p.checkpoint[6:7]) for p in copy_paste_patches(patches, 60, 0)}
    # c and f have no partner of their scale, and paste their own
    assert pairs == {("a", "b"), ("b", "a"), ("c", "c"), ("d", "e"), ("e", "d"), ("f", "f")}


def test_a_single_micrograph_gives_to_itself():
    patches = [flat("a", 100, square(5, 20), x=1), flat("a", 100, x=2)]
    assert {p.checkpoint for p in copy_paste_patches(patches, 10, 0)} == {"donor:a@1,0"}


def test_what_would_coincide_is_not_pasted():
    """A square in the middle is the same in all symmetries: the background stays as it is."""
    middle = flat("a", 100, square(42, 42))
    for patch in copy_paste_patches([middle], 3, 0):
        assert np.array_equal(patch.image, middle.image) and placed(patch.defects) == placed(middle.defects)
        assert patch.origin == "copypaste" and patch.checkpoint == ""


@pytest.mark.parametrize(
    "patches, said",
    [
        ([], "no patch holds a defect"),
        ([EMPTY, flat("b", 100, square(5, 5, ignore=True))], "no patch holds a defect"),
        ([GIVER, replace(EMPTY, image=None)], "a: expected square patches of one size"),
        ([GIVER, Micrograph("small", np.zeros((8, 8), np.uint8), (), (8, 8))], "small: expected square patches"),
        ([Micrograph("wide", np.zeros((8, 9), np.uint8), (), (8, 9))], "wide: expected square patches"),
    ],
)
def test_patches_that_cannot_be_used_are_refused_at_once(patches, said):
    with pytest.raises(TemDataError, match=said):
        copy_paste_patches(patches, 1, 0)


def test_command_and_stage_write_the_same_dataset(tmp_path, monkeypatch, capsys):
    from tem_data.cli import main

    monkeypatch.chdir(tmp_path)
    write_dataset("data/1-10/patches", {"train": many()}, CLASSES)
    Path("params.yaml").write_text(yaml.safe_dump({"copy_paste": {"per_patch": 0.5}}))
    monkeypatch.setattr(sys, "argv", ["stage", "1-10-2"])
    runpy.run_module("pipelines.copy_paste", run_name="__main__")
    words = ["copy-paste", "data/1-10/patches", "--out", "x", "--count", "6", "--seed", "2010010"]
    monkeypatch.setattr(sys, "argv", ["tem-data", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0 and "6 patches" in capsys.readouterr().out
    expected = list(copy_paste_patches(many(), 6, 2010010))
    for folder in ("runs/1-10-2/pairs/exp_copypaste", "x"):
        for patch, other in zip(read_dataset(folder, "train"), expected, strict=True):
            assert np.array_equal(patch.image, other.image) and placed(patch.defects) == placed(other.defects)
            for name in ["micrograph_id", "scene", "nm_per_px", "origin", "x", "y", "symmetry", "seed", "checkpoint"]:
                assert getattr(patch, name) == getattr(other, name)
