"""What a call of the pipeline may be given, and the one line about what it may not."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from tem_data.core.errors import TemDataError
from tem_data.diffusion import MicrographOutput
from tem_data.diffusion.arguments import asked_pictures
from tem_data.diffusion.mask_input import class_masks
from tests.helpers.toy_ldm import toy, untrained

MASKS = np.arange(2 * 8 * 16, dtype=np.uint8).reshape(2, 8, 16) % 3


def palette(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask).convert("P")
    image.putdata(mask.ravel())
    image.putpalette([255, 255, 255, 9, 9, 9, 0, 200, 0])
    return image


@pytest.mark.parametrize(
    "given",
    [
        MASKS,
        MASKS.astype(np.int64),
        MASKS.astype(np.float32),
        MASKS[:, None],
        torch.from_numpy(MASKS),
        torch.from_numpy(MASKS).to(torch.uint16),
        torch.from_numpy(MASKS).to(torch.bfloat16)[:, None].requires_grad_(),
        [Image.fromarray(mask) for mask in MASKS],
        [palette(mask) for mask in MASKS],
        [Image.fromarray(mask.astype(np.uint16)) for mask in MASKS],
        list(MASKS),
        tuple(torch.from_numpy(MASKS)),
        list(torch.from_numpy(MASKS[:, None])),
        [MASKS[0], Image.fromarray(MASKS[1])],
    ],
    ids=lambda given: type(given).__name__,
)
def test_many_masks_of_any_kind_are_their_stored_values(given):
    masks = class_masks(given, 2)
    assert masks.dtype == np.uint8
    np.testing.assert_array_equal(masks, MASKS)


@pytest.mark.parametrize("given", [MASKS[0], torch.from_numpy(MASKS[0]), palette(MASKS[0]), [MASKS[0]]])
def test_one_mask_is_a_batch_of_one(given):
    np.testing.assert_array_equal(class_masks(given, 2), MASKS[:1])


def test_true_is_the_one_class():
    for given in (MASKS > 0, torch.from_numpy(MASKS > 0), [Image.fromarray(mask > 0) for mask in MASKS]):
        np.testing.assert_array_equal(class_masks(given, 1), MASKS > 0)


@pytest.mark.parametrize("form", [None, "torch", "numpy"])
def test_the_masks_of_a_loaded_dataset(form):
    from datasets import Dataset, Features
    from datasets import Image as Pictures

    rows = Dataset.from_dict(
        {"mask": [Image.fromarray(mask) for mask in MASKS]}, features=Features({"mask": Pictures()})
    ).with_format(form)
    for given in (rows["mask"], rows[:2]["mask"], [row["mask"] for row in rows]):
        np.testing.assert_array_equal(class_masks(given, 2), MASKS)


@pytest.mark.parametrize(
    "given, message",
    [
        (None, "masks: expected an array, a tensor or a PIL image .*; found NoneType"),
        ("mask.png", "masks: expected .*; found str"),
        ({"mask": MASKS}, "masks: expected .*; found dict"),
        (3, "masks: expected .*; found int"),
        (object(), "masks: expected .*; found object"),
        ([MASKS[0], None], r"masks\[1\]: expected .*; found NoneType"),
        (MASKS.tolist(), r"masks\[0\]: expected .*; found list"),
        ([], "at least one mask"),
        (np.zeros((2, 0, 8), np.uint8), "at least one mask"),
        (MASKS[0, 0], r"masks of shape \(16,\): expected \(N, height, width\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"masks of shape \(2, 3, 8, 8\): expected"),
        ([MASKS], r"masks\[0\] of shape \(2, 8, 16\): expected \(height, width\)"),
        ([MASKS[0], MASKS[0].T], "masks: expected one size, found 8×16, 16×8 px"),
        (MASKS + 0.5, "masks of float64 that holds 0.5: expected whole numbers"),
        (MASKS * np.nan, "that holds nan"),
        (MASKS + np.inf, "that holds inf"),
        (MASKS.astype(complex), "masks of complex128: expected whole numbers"),
        (np.array(["a"]), "masks of <U1"),
        (Image.new("RGB", (8, 8)), "mode RGB: expected one value a pixel"),
        (MASKS.astype(int) - 1, "holds the value -1, but there are 2 classes"),
        (Image.fromarray((MASKS[0] > 0) * np.uint8(255)), "holds the value 255, but there are 2 classes"),
    ],
)
def test_what_is_no_mask_is_told_in_one_line(given, message):
    with pytest.raises(TemDataError, match=message) as caught:
        class_masks(given, 2)
    assert "\n" not in str(caught.value)


def asked(masks=MASKS, seeds=None, instances=None, nm_per_px=None, generator=None, images_per_mask=1):
    return asked_pictures(masks, seeds, instances, nm_per_px, generator, images_per_mask, 2)


@pytest.mark.parametrize(
    "seeds, expected",
    [
        (5, [5, 6]),
        (np.int64(5), [5, 6]),
        (torch.tensor(5), [5, 6]),
        (2.0, [2, 3]),
        ([7, 3], [7, 3]),
        (range(2), [0, 1]),
        (np.array([2**63 - 1, 0], np.uint64), [2**63 - 1, 0]),
        (torch.tensor([4, 9]), [4, 9]),
    ],
)
def test_one_seed_stands_for_those_that_follow_and_many_for_themselves(seeds, expected):
    assert asked(seeds=seeds).seeds == expected


def test_pictures_of_a_mask_follow_each_other():
    told, seeds = asked(seeds=10, nm_per_px=[0.5, None], images_per_mask=3)
    assert seeds == [10, 11, 12, 13, 14, 15]
    np.testing.assert_array_equal(told.masks, MASKS[[0, 0, 0, 1, 1, 1]])
    np.testing.assert_array_equal(told.nm_per_px, np.float32([0.5] * 3 + [np.nan] * 3))
    assert asked(nm_per_px=0.25).conditioning.nm_per_px.tolist() == [0.25, 0.25]


def test_seeds_follow_from_a_generator():
    one, other = (asked(generator=torch.Generator().manual_seed(3)).seeds for _ in range(2))
    assert one == other and len(set(one)) == 2
    assert asked(MASKS[:1], generator=torch.Generator().manual_seed(3)).seeds == one[:1]
    assert asked(generator=[torch.Generator().manual_seed(k) for k in (9, 3)]).seeds[1] == one[0]
    torch.manual_seed(1)
    drawn, next_drawn = asked().seeds, asked().seeds
    torch.manual_seed(1)
    assert asked().seeds == drawn != next_drawn


BAD_SEEDS = [-1, 2**63, True, 1.5, math.nan, math.inf, "1", object(), {1: 2}, b"1", {1, 2}]


@pytest.mark.parametrize(
    "given, message",
    [(dict(seeds=seed), "seeds: expected a whole number from 0 to 9223372036854775807, found ") for seed in BAD_SEEDS]
    + [(dict(seeds=[1, seed]), r"seeds\[1\]: expected a whole number from 0 to 92\d+, found ") for seed in BAD_SEEDS]
    + [
        (dict(seeds=[1, None]), r"seeds\[1\]: .* found None"),
        (dict(seeds=2**63 - 1), "the last of consecutive seeds: .*, found 9223372036854775808"),
        (dict(seeds=[1, 2, 3]), "2 masks but 3 seeds"),
        (dict(seeds=[1, 2], images_per_mask=2), "2 masks but 2 seeds .* a seed for each of the 2 pictures of a mask"),
        (dict(seeds=np.zeros((2, 2), int)), r"seeds\[0\]: .* found a list"),
        (dict(seeds=1, generator=torch.Generator()), "seeds and generator: expected one of them"),
        (dict(generator=3), "generator: expected a torch.Generator, .* found 3"),
        (dict(generator=[torch.Generator(), None]), "generator: expected a torch.Generator, .* found None"),
        (dict(generator=[torch.Generator()]), "generator: expected one, or one for each of 2 pictures, found 1"),
        (dict(images_per_mask=0), "images_per_mask: expected a whole number from 1 on, found 0"),
        (dict(images_per_mask="two"), "images_per_mask: .* found 'two'"),
        (dict(nm_per_px=[0.5]), "1 pixel sizes"),
        (dict(instances=MASKS[:1]), r"instances: .* edges of shape \(1, 8, 16\)"),
        (dict(instances=MASKS + 0.5), "instances of float64 that holds 0.5"),
        (dict(instances="ids"), "instances: .* found str"),
    ]
    + [
        (dict(nm_per_px=size), "nm_per_px: expected a pixel size in nm above 0, .*; found ")
        for size in (0, -1.0, math.nan, math.inf, 1e-50, "0.5", True, object(), {})
    ]
    + [(dict(nm_per_px=[0.5, 0.0]), r"nm_per_px\[1\]: .*; found 0.0")],
)
def test_an_argument_that_is_not_as_it_should_be_is_named_in_one_line(given, message):
    with pytest.raises(TemDataError, match=message) as caught:
        asked(**({"seeds": [1, 2]} | given if "generator" not in given else given))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def pipeline():
    return untrained()


@pytest.mark.parametrize(
    "given, message",
    [
        (dict(num_inference_steps=0), "num_inference_steps: expected a whole number from 1 on, found 0"),
        (dict(num_inference_steps=2.5), "num_inference_steps: .*found 2.5"),
        (dict(num_inference_steps=None), "num_inference_steps: .*found None"),
        (dict(guidance_scale=-1), "guidance_scale: expected a number from 0 on, found -1"),
        (dict(guidance_scale=math.nan), "guidance_scale: .*found nan"),
        (dict(guidance_scale=math.inf), "guidance_scale: .*found inf"),
        (dict(guidance_scale="1"), "guidance_scale: .*found '1'"),
        (dict(guidance_scale=10**400), "guidance_scale: .*found 1000"),
        (dict(batch_size=0), "batch_size: expected a whole number from 1 on, found 0"),
        (dict(eta=-1, num_inference_steps=1), "eta: expected a number from 0 on, found -1"),
        (dict(eta=1.0, num_inference_steps=1), "eta: expected None, since DPMSolverMultistepScheduler has none"),
        (dict(output_type="latent"), "output_type: expected np, pil, pt; found 'latent'"),
        (dict(output_type=["np"]), "output_type: .*found a list"),
        (dict(callback=3), "callback: expected a function, found 3"),
        (dict(callback_on_step_end="print"), "callback_on_step_end: expected a function, found 'print'"),
        (
            dict(callback_on_step_end_tensor_inputs=["noise"]),
            r"tensor_inputs: expected \['latents'\], found \['noise'\]",
        ),
        (dict(callback_on_step_end_tensor_inputs=None), "tensor_inputs: .*found None"),
    ],
)
def test_settings_of_a_call_are_checked(pipeline, given, message):
    with pytest.raises(TemDataError, match=message) as caught:
        pipeline(toy(1, 3).conditioning.masks, 0, **given)
    assert "\n" not in str(caught.value)


def test_output_types_hold_the_same_pictures(pipeline):
    masks = toy(2, 3).conditioning.masks

    def paint(**more):
        return pipeline(masks, 3, num_inference_steps=2, **more)

    images = paint()
    assert images.shape == masks.shape and images.dtype == np.uint8
    pictures, tensor = paint(output_type="pil"), paint(output_type="pt")
    assert [picture.mode for picture in pictures] == ["L", "L"]
    np.testing.assert_array_equal(np.stack(pictures), images)
    assert tensor.shape == (2, 1, 32, 32) and tensor.dtype == torch.float32
    np.testing.assert_array_equal((tensor[:, 0] * 255).round().numpy(), images)
    output = paint(return_dict=True)
    assert isinstance(output, MicrographOutput) and output.seeds == [3, 4]
    np.testing.assert_array_equal(output.images, images)
    np.testing.assert_array_equal(output[0], images)


def test_drawn_seeds_make_the_pictures_again(pipeline):
    mask = toy(1, 3).conditioning.masks[0]
    output = pipeline(mask, num_inference_steps=2, images_per_mask=2, return_dict=True)
    assert output.images.shape == (2, 32, 32) and (output.images[0] != output.images[1]).any()
    again = pipeline([mask, mask], output.seeds, num_inference_steps=2)
    np.testing.assert_array_equal(output.images, again)
