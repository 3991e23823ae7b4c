"""Pretrained diffusion models by their Hub names."""

import pytest
from diffusers import AutoencoderKL
from huggingface_hub import HfApi

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph
from tem_data.core.schema import Classes, read_dataset, write_dataset
from tem_data.diffusion import load_autoencoder
from tem_data.diffusion.settings import GenerationSettings
from tem_data.diffusion.steps import generate_pairs
from tests.helpers.toy_ldm import untrained


@pytest.mark.parametrize("place", ["", "vae/"])
def test_autoencoders_are_read_by_name_and_revision(hub, tmp_path, place):
    AutoencoderKL(block_out_channels=(4,), norm_num_groups=2).save_pretrained(tmp_path / "sent" / place)
    api = HfApi()
    api.create_repo("org/vae")
    commit = api.upload_folder(repo_id="org/vae", folder_path=tmp_path / "sent").oid
    api.create_tag("org/vae", tag="v1")
    api.delete_files("org/vae", ["**/*.safetensors", "*.safetensors"], commit_message="main has no weights")
    load_autoencoder("org/vae@v1").model.save_pretrained(tmp_path / "got")
    weights = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / "got" / weights).read_bytes() == (tmp_path / "sent" / place / weights).read_bytes()
    assert hub.asked("GET", weights) == [f"/org/vae/resolve/{commit}/{place}{weights}"]
    for name in ("org/none@v1", "org/vae@v2", "org/vae"):
        with pytest.raises(TemDataError, match=f"autoencoder {name}: "):
            load_autoencoder(name)


def test_pairs_generated_by_a_published_model_name_its_commit(hub, tmp_path):
    untrained().save_pretrained(str(tmp_path / "ldm"), push_to_hub=True, repo_id="org/ldm")
    mask = Micrograph("m", None, (), (32, 32), origin="sim")
    write_dataset(tmp_path / "masks", {"train": [mask]}, Classes(("square",)))
    generate_pairs("org/ldm", tmp_path / "masks", GenerationSettings(num_inference_steps=1), 0, tmp_path / "pairs")
    (pair,) = read_dataset(tmp_path / "pairs", "train")
    assert pair.checkpoint == f"org/ldm@{HfApi().repo_info('org/ldm').sha}" and pair.image.shape == (32, 32)
    with pytest.raises(TemDataError, match="org/none"):
        generate_pairs(
            "org/none", tmp_path / "masks", GenerationSettings(num_inference_steps=1), 0, tmp_path / "others"
        )
