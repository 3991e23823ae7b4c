"""New defects in real patches: where they go, what stays, what is confirmed, and what a kill changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tem_data.core.errors import TemDataError
from tem_data.core.files import fingerprint
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.core.schema import Classes, read_rows, write_dataset
from tem_data.diffusion.conditioning import Conditioning, instance_edges
from tem_data.diffusion.pipeline import KnownPictures
from tem_data.diffusion.settings import GenerationSettings
from tem_data.painting import steps
from tem_data.painting.placing import place_defects, with_room
from tem_data.painting.settings import PaintSettings
from tem_data.painting.steps import blended, paint_dataset
from tem_data.patches.blending import blend_weight
from tests.helpers.processes import Killed
from tests.helpers.toy_ldm import toy, trained

CLASSES = Classes(("square",), ("unclear",))
SOLVER = GenerationSettings(scheduler=None, num_inference_steps=8, shard_rows=3)
EVERY = PaintSettings(share=1.0, confirm=None)


def square(x: int, y: int, side: int = 12, **changes) -> Defect:
    return Defect("square", x, y, np.ones((side, side), bool), **changes)


def patch(number: int, *defects: Defect, nm_per_px: float | None = 0.5) -> Micrograph:
    """A bright noisy patch of 64 px that shows its defects."""
    image = np.random.default_rng(number).normal(190, 5, (64, 64))
    for x, y, width, height in (defect.bbox for defect in defects):
        image[y : y + height, x : x + width] = 60
    return Micrograph(f"m{number}", image.astype(np.uint8), defects, (64, 64), nm_per_px, scene=f"s{number}")


def mask(number: int, *defects: Defect, nm_per_px: float | None = 0.5) -> Micrograph:
    return Micrograph(f"sim-{number}", None, defects, (64, 64), nm_per_px, origin="sim")


# Placing


def test_defects_go_where_nothing_is():
    there, ambiguous = square(4, 4), square(40, 4, ignore=True)
    onto_defect, onto_ignored, near, free = square(10, 8), square(42, 6), square(18, 4), square(30, 40)
    kept = with_room(patch(0, there, ambiguous), [onto_defect, onto_ignored, near, free, replace(free, x=36)])
    assert kept == (free,)


def test_a_patch_gets_defects_of_masks_of_its_own_scale():
    patches = [patch(i, nm_per_px=scale) for i, scale in enumerate((0.5, 1.0, None))]
    masks = [mask(i, square(8 * i, 0), nm_per_px=scale) for i, scale in enumerate((0.52, 0.97, None))]
    placed = list(place_defects(patches, masks, 60, 1.0, seed=0))
    assert {p.patch.micrograph_id: {d.x for d in p.new} for p in placed} == {"m0": {0}, "m1": {8}, "m2": {16}}
    only = list(place_defects(patches[:1], masks[2:], 3, 1.0, seed=0))
    assert all(p.new == masks[2].defects for p in only)


def test_placements_follow_from_the_seed_and_the_share():
    patches, masks = [patch(i) for i in range(3)], [mask(i, square(0, 0), square(30, 30)) for i in range(3)]
    some, more = (list(place_defects(patches, masks, n, 0.5, seed=3)) for n in (40, 80))
    assert [(p.patch.micrograph_id, p.new, p.seed) for p in some] == [
        (p.patch.micrograph_id, p.new, p.seed) for p in more[:40]
    ]
    assert len({p.seed for p in more}) == 80
    of_two = [len(p.new) for p in more]
    assert set(of_two) == {1, 2} and 0.2 < np.mean(np.array(of_two) == 2) < 0.47  # 1/3 of those with any


def test_a_full_patch_gets_none_and_ignored_slivers_never_come_along():
    full, sliver = patch(0, square(0, 0, 64)), mask(0, square(0, 0, 3, ignore=True))
    assert all(p.new == () for p in place_defects([full], [mask(0, square(5, 5))], 3, 1.0, 0))
    assert all(p.new == () for p in place_defects([patch(0)], [sliver], 3, 1.0, 0))


@pytest.mark.parametrize("masks", [[], [Micrograph("sim-0", None, (), (32, 32))]])
def test_masks_that_do_not_fit_are_refused(masks):
    with pytest.raises(TemDataError, match="masks for patches, of .*64×64 px; draw masks of the patches' size"):
        place_defects([patch(0)], masks, 1, 1.0, 0)


# Painting


@pytest.mark.parametrize("scheduler", ["DPMSolverMultistepScheduler", "DDIMScheduler"])
@pytest.mark.parametrize("steps", [2, 9])
def test_any_solver_ends_in_the_known_latents_outside(scheduler, steps, monkeypatch):
    from tem_data.diffusion.generation import SCHEDULERS

    pipeline = trained()[1]
    monkeypatch.setattr(pipeline, "scheduler", SCHEDULERS[scheduler].from_config(pipeline.scheduler.config))
    decoded = []
    monkeypatch.setattr(type(pipeline.autoencoder), "decode", lambda _, latents, seeds: decoded.append(latents))
    pairs = toy(2, 5)
    regions = np.zeros(pairs.images.shape, bool)
    regions[:, 8:16, 8:16] = True
    outside = pipeline._outside(KnownPictures(pairs.images, regions))
    pipeline._paint(pairs.conditioning, [0, 1], steps, 1.5, outside)
    free = (outside.inside == 0).expand_as(decoded[0])
    assert outside.inside[0, 0].sum() == 16  # two by two latents, and one more on each side
    torch.testing.assert_close(decoded[0][free], outside.latents[free], rtol=0, atol=2e-3)
    assert (decoded[0] - outside.latents)[~free].abs().mean() > 0.05


def test_a_dark_square_appears_where_it_is_asked_and_nothing_changes_elsewhere():
    pipeline, new = trained()[1], (square(36, 34),)
    real = patch(1, square(6, 8))
    told = np.zeros((1, 64, 64), np.uint8)
    told[0, 8:20, 6:18] = told[0, 34:46, 36:48] = 1
    conditioning = Conditioning(told, instance_edges(told), np.full(1, 0.5, np.float32))
    known = KnownPictures(real.pixels[None], blend_weight(new, real.shape)[None] > 0)
    image = pipeline.paint(conditioning, [3], 10, known=known)[0]
    painted = blended(next(iter(place_defects([real], [mask(0, *new)], 1, 1.0, 0))), image)
    reached = blend_weight(new, real.shape) > 0
    np.testing.assert_array_equal(painted.pixels[~reached], real.pixels[~reached])
    assert painted.pixels[36:44, 38:46].mean() < 110 < 170 < painted.pixels[~reached & (told[0] == 0)].mean()
    assert painted.defects == (*real.defects, *new) and painted.origin == "paint"


# The step


@pytest.fixture
def folders(tmp_path):
    patches = [patch(i, square(4, 4 + i)) for i in range(4)]
    masks = [mask(i, square(30 + i, 30), square(2, 44)) for i in range(5)]
    write_dataset(tmp_path / "patches", {"train": patches}, CLASSES, "Patches.")
    write_dataset(tmp_path / "masks", {"train": masks}, CLASSES, "Masks.")
    trained()[1].save_pretrained(tmp_path / "ldm")
    return tmp_path


def painted(folder, out="painted", settings=EVERY, **more):
    given = (folder / name for name in ("ldm", "patches", "masks", out))
    return paint_dataset(*given, settings, SOLVER, 7, **more)


def test_a_data_set_is_painted_and_counted(folders, capsys):
    report = painted(folders)
    rows, originals = read_rows(folders / "painted", "train"), read_rows(folders / "patches", "train")
    assert len(rows) == 4 and {r.origin for r in rows} == {"paint"} and {r.num_inference_steps for r in rows} == {8}
    new = sum(len(row.defects) - 1 for row in rows)
    assert report == {"masks": 5, "patches": 4, "defects": {"square": {"requested": new, "kept": new}}} and new >= 4
    assert f"kept {new} of {new} square" in capsys.readouterr().out
    by_name = {o.micrograph_id: o for o in originals}
    assert {r.scene for r in rows} <= {o.scene for o in originals}
    for row in rows:
        reached = blend_weight(row.defects[1:], row.shape) > 0
        assert np.array_equal(row.pixels[~reached], by_name[row.micrograph_id].pixels[~reached])


def test_what_is_not_confirmed_is_neither_painted_nor_labelled(folders, monkeypatch):
    painted(folders)
    monkeypatch.setattr(steps, "load_judges", lambda _: ["a judge"])

    def those_at_the_right(judges, pairs, confidence):
        assert judges == ["a judge"] and confidence == 0.2
        return [np.array([d.x >= 30 for d in pair.defects]) for pair in pairs]

    monkeypatch.setattr(steps, "confirmed", those_at_the_right)
    report = painted(folders, "judged", replace(EVERY, confirm=0.2), judges=folders / "masks")
    rows, every = (read_rows(folders / name, "train") for name in ("judged", "painted"))
    for row, unjudged in zip(rows, every, strict=True):
        dropped = [d for d in unjudged.defects[1:] if d.x < 30]
        assert [d.bbox for d in row.defects] == [d.bbox for d in unjudged.defects if d.x >= 30 or d.x == 4]
        near = blend_weight(dropped, row.shape) > 0
        original = next(p for p in read_rows(folders / "patches", "train") if p.micrograph_id == row.micrograph_id)
        assert np.array_equal(row.pixels[near], original.pixels[near])
    requested, kept = report["defects"]["square"].values()
    assert 0 < kept < requested


def test_judges_are_needed_to_confirm(folders):
    with pytest.raises(TemDataError, match="give a folder of judges, or set paint.confirm null"):
        painted(folders, settings=replace(EVERY, confirm=0.2))


def test_a_killed_painting_ends_in_the_same_bytes(folders, monkeypatch):
    painted(folders, "whole")
    write, calls = steps.write_shard, []

    def once(*given):
        calls.append(given)
        if len(calls) > 1:
            raise Killed
        write(*given)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(steps, "write_shard", once)
        with pytest.raises(Killed):
            painted(folders, "resumed")
    assert not (folders / "resumed").exists()
    monkeypatch.setattr(steps, "write_shard", lambda *given: calls.append(given) or write(*given))
    painted(folders, "resumed")
    assert len(calls) == 3  # the first of two shards is not painted again
    whole, resumed = (fingerprint(None, folders / name) for name in ("whole", "resumed"))
    assert whole == resumed
