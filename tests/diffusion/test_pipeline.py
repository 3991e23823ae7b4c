"""MaskToMicrographPipeline: what an image depends on, sizes, memory, and what does not fit together."""

import numpy as np
import pytest
import torch

from tem_data.core.errors import TemDataError
from tem_data.diffusion import MaskToMicrographPipeline
from tests.helpers.toy_ldm import toy, trained, untrained, untrained_autoencoder


def same_up_to_rounding(one: np.ndarray, other: np.ndarray) -> bool:
    """Convolutions of batches of other sizes add in another order, which shifts few pixels by one grey level."""
    return np.abs(one.astype(int) - other).max() <= 1 and (one != other).mean() < 0.01


@pytest.fixture(scope="module")
def pipeline() -> MaskToMicrographPipeline:
    return trained()[1]


@pytest.mark.parametrize("height, width", [(32, 32), (40, 24), (128, 128)])
def test_squares_are_painted_where_they_are_asked_on_any_size(pipeline, height, width):
    masks = toy(4, 3, height, width).conditioning.masks
    images = pipeline(masks, range(4), num_inference_steps=10)
    assert images.shape == masks.shape and images.dtype == np.uint8
    assert images[masks == 1].mean() < images[masks == 0].mean() - 60


@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
def test_an_image_depends_on_its_mask_and_seed_alone(pipeline, guidance_scale):
    masks = toy(7, 3).conditioning.masks

    def paint(batch_size: int | None, seeds=range(7)) -> np.ndarray:
        return pipeline(masks, seeds, num_inference_steps=3, guidance_scale=guidance_scale, batch_size=batch_size)

    together = paint(None)
    for batch_size in (1, 3):
        assert same_up_to_rounding(paint(batch_size), together)
    shifted = paint(None, np.arange(1, 8))
    assert not any(same_up_to_rounding(one, other) for one, other in zip(shifted, together, strict=True))


def test_a_mask_in_a_batch_does_not_change_its_neighbours(pipeline):
    masks = toy(3, 3).conditioning.masks
    changed = masks.copy()
    changed[1] = 0
    one, other = (pipeline(each, range(3), num_inference_steps=3) for each in (masks, changed))
    np.testing.assert_array_equal(one[[0, 2]], other[[0, 2]])
    assert not same_up_to_rounding(one[1], other[1])


def test_instances_tell_touching_defects_apart(pipeline):
    instances = np.zeros((1, 32, 32), np.uint16)
    instances[0, 8:24, 4:16], instances[0, 8:24, 16:28] = 1, 2
    masks = (instances > 0).astype(np.uint8)
    one, two, none = (pipeline(masks, [0], ids, num_inference_steps=3) for ids in (masks, instances, None))
    assert (one != two).any()
    np.testing.assert_array_equal(one, none)


def test_pixel_size_counts_where_the_model_knows_it():
    masks = toy(1, 3).conditioning.masks
    for told in (False, True):
        model = untrained(pixel_size=told)
        default, same, other = (
            model(masks, [0], nm_per_px=size, num_inference_steps=2) for size in (None, [0.5], [2.0])
        )
        np.testing.assert_array_equal(default, same)
        assert (other != default).any() == told


def test_no_mask_is_not_an_empty_mask(pipeline):
    empty = np.zeros((1, 32, 32), np.uint8)
    guided, free = (pipeline(empty, [0], num_inference_steps=4, guidance_scale=scale) for scale in (1.0, 0.0))
    assert not same_up_to_rounding(guided, free)


@pytest.mark.parametrize("steps, begun", [(1, False), (4, True)])  # the one step is taken at time 999
def test_guidance_begins_once_the_grey_level_is_decided(pipeline, steps, begun):
    masks = toy(1, 3).conditioning.masks
    plain, guided = (pipeline(masks, [0], num_inference_steps=steps, guidance_scale=scale) for scale in (1.0, 3.0))
    assert same_up_to_rounding(plain, guided) != begun


def test_many_steps_begin_with_several_of_one_time(pipeline):
    masks = toy(1, 3).conditioning.masks
    few, many = (pipeline(masks, [0], num_inference_steps=steps).astype(float) for steps in (50, 200))
    times = pipeline.scheduler.timesteps
    assert times[0] == times[1] and np.corrcoef(few.ravel(), many.ravel())[0, 1] > 0.9


def test_grain_is_drawn_from_the_seed(pipeline):
    masks, autoencoder = toy(1, 3).conditioning.masks, pipeline.autoencoder
    bare = MaskToMicrographPipeline(**pipeline.components | {"grain": None}, **configuration(pipeline))
    smooth, grainy = (model(masks, [5], num_inference_steps=3)[0].astype(float) for model in (bare, pipeline))
    latents = autoencoder.encode(toy(1, 3).images)
    expected = autoencoder.grain.draw(latents, [5])[0].numpy().std()
    assert (grainy - smooth).std() == pytest.approx(expected, rel=0.3) and expected > 2


def configuration(pipeline: MaskToMicrographPipeline) -> dict:
    return {name: pipeline.config[name] for name in ("class_names", "latent_mean", "latent_std", "nm_per_px")}


MASKS = np.zeros((2, 32, 32), np.uint8)


@pytest.mark.parametrize(
    "masks, seeds, more, message",
    [
        (MASKS, [1], {}, "2 masks but 1 seeds"),
        (MASKS, [1, 2], dict(nm_per_px=[0.5]), "1 pixel sizes"),
        (MASKS[0], range(32), {}, "1 masks but 32 seeds"),
        (MASKS[0, 0], [1], {}, r"shape \(32,\): expected \(N, height, width\)"),
        (MASKS[:0], [], {}, "at least one mask"),
        (MASKS[:, :28], [1, 2], {}, "28×32 px: this model paints sides that are multiples of 8 px"),
        (MASKS + np.uint8(2), [1, 2], {}, "holds the value 2, but there are 1 classes"),
        (MASKS + np.float32(0.5), [1, 2], {}, "masks of float32 that holds 0.5"),
        (MASKS, [1, 2], dict(instances=MASKS[:, :16]), r"edges of shape \(2, 16, 32\)"),
    ],
)
def test_wrong_masks_are_explained(pipeline, masks, seeds, more, message):
    with pytest.raises(TemDataError, match=message):
        pipeline(masks, seeds, num_inference_steps=1, **more)


def test_too_little_memory_halves_the_batch(pipeline, monkeypatch):
    conditioning, tried = toy(7, 3).conditioning, []
    expected, paint = pipeline.paint(conditioning, range(7), 3), pipeline._paint

    def cramped(part, *rest):
        tried.append(len(part.masks))
        if len(part.masks) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return paint(part, *rest)

    monkeypatch.setattr(pipeline, "_paint", cramped)
    painted = []
    images = pipeline.paint(conditioning, range(7), 3, batch_size=6, callback=painted.append)
    assert tried == [6, 3, 1, 1, 1, 1, 1, 1, 1] and painted == [1] * 7
    assert same_up_to_rounding(images, expected)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("The size of tensor a must match")]
)
def test_other_errors_and_a_single_picture_too_large_are_not_hidden(pipeline, monkeypatch, error):
    tried = []

    def fail(part, *rest):
        tried.append(len(part.masks))
        raise error

    monkeypatch.setattr(pipeline, "_paint", fail)
    with pytest.raises(type(error)) as caught:
        pipeline.paint(toy(4, 3).conditioning, range(4), batch_size=4)
    assert caught.value is error
    assert tried == ([4, 2, 1] if isinstance(error, torch.OutOfMemoryError) else [4])


def test_an_autoencoder_with_other_channels_is_explained(pipeline):
    with pytest.raises(TemDataError, match="latents of 4 channels, but the autoencoder has 3; use the autoencoder"):
        MaskToMicrographPipeline.assemble(pipeline.unet, untrained_autoencoder(3), ["square"])


@pytest.mark.parametrize("grain", [True, False])
def test_saved_pipeline_paints_the_same(pipeline, tmp_path, grain):
    if not grain:
        pipeline = MaskToMicrographPipeline(**pipeline.components | {"grain": None}, **configuration(pipeline))
    pipeline.save_pretrained(tmp_path)
    again = MaskToMicrographPipeline.from_pretrained(tmp_path)
    assert configuration(again) == configuration(pipeline) and again.config.class_names == ["square"]
    assert not list(tmp_path.rglob("*.bin")) and len(list(tmp_path.rglob("*.safetensors"))) == 2 + grain
    masks = toy(3, 3).conditioning.masks
    painted = (model(masks, range(3), num_inference_steps=4) for model in (again, pipeline))
    np.testing.assert_array_equal(*painted)


def test_half_precision_paints_nearly_the_same(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    half = MaskToMicrographPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    masks = toy(4, 3).conditioning.masks
    one, other = (model(masks, range(4), num_inference_steps=4).astype(int) for model in (pipeline, half))
    assert half.unet.dtype == half.grain.dtype == torch.bfloat16
    assert np.abs(one - other).mean() < 4
