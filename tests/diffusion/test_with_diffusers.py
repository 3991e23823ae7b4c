"""The pipeline by the names that users of diffusers know."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from huggingface_hub import HfApi, snapshot_download

from tem_data.diffusion import MaskToMicrographPipeline
from tests.helpers.toy_ldm import toy, untrained

MASKS = toy(2, 3).conditioning.masks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ldm")
    untrained().save_pretrained(path)
    return path


def painted(pipeline):
    return pipeline(MASKS, 1, num_inference_steps=2)


def test_diffusers_own_class_loads_a_folder(folder):
    pipeline = DiffusionPipeline.from_pretrained(folder)
    assert isinstance(pipeline, MaskToMicrographPipeline)
    np.testing.assert_array_equal(painted(pipeline), painted(MaskToMicrographPipeline.from_pretrained(folder)))


def test_diffusers_own_class_loads_what_was_downloaded_from_the_hub(hub, folder):
    api = HfApi()
    api.create_repo("org/ldm")
    api.upload_folder(repo_id="org/ldm", folder_path=folder)
    pipeline = DiffusionPipeline.from_pretrained(snapshot_download("org/ldm"))
    np.testing.assert_array_equal(painted(pipeline), painted(untrained()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "from diffusers import DiffusionPipeline; import tem_data.diffusion",
        "import tem_data.diffusion.pipeline; from diffusers import DiffusionPipeline",
        "from tem_data.diffusion import MaskToMicrographPipeline; from diffusers import DiffusionPipeline",
    ],
)
def test_diffusers_knows_the_class_once_it_was_imported(folder, imports):
    code = f"{imports}; print(type(DiffusionPipeline.from_pretrained({str(folder)!r})).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "MaskToMicrographPipeline"


@pytest.mark.slow
def test_the_package_imports_without_torch():
    code = "import sys, tem_data.diffusion; print('torch' in sys.modules, 'diffusers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_from_pipe_shares_the_networks_and_takes_another_scheduler():
    pipeline = untrained()
    same = MaskToMicrographPipeline.from_pipe(pipeline)
    assert same.unet is pipeline.unet and same.vae is pipeline.vae and same.grain is pipeline.grain
    assert same.config.class_names == ["square"] and same.config.nm_per_px == 0.5
    np.testing.assert_array_equal(painted(same), painted(pipeline))
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    other = MaskToMicrographPipeline.from_pipe(pipeline, scheduler=scheduler)
    assert other.scheduler is scheduler and (painted(other) != painted(pipeline)).any()
    bare = MaskToMicrographPipeline.from_pipe(MaskToMicrographPipeline.from_pipe(pipeline, grain=None))
    assert bare.grain is None and torch.equal(next(bare.unet.parameters()), next(pipeline.unet.parameters()))
