"""Two training iterations of the paper profile's real networks, which are meant for GPUs, at 256 px."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from tem_data.core.settings import read_section
from tem_data.detection.model import detector_config, new_network
from tem_data.detection.settings import DetectorSettings
from tem_data.detection.training import train_detector
from tem_data.diffusion import Autoencoder, grain, train_ldm
from tem_data.diffusion.conditioning import Conditioning, ImageMaskPairs
from tem_data.diffusion.settings import LDMSettings
from tem_data.diffusion.steps import conditioning_of
from tem_data.patches.cutting import tiles
from tem_data.simulation.micrographs import simulate
from tests.pipelines.test_chain import compose

pytestmark = pytest.mark.slow

CLASSES = ("100", "111", "bdot")


@pytest.fixture(scope="module")
def params(tmp_path_factory) -> dict:
    return compose(tmp_path_factory.mktemp("paper") / "params.yaml", "profile=paper")


@pytest.fixture(scope="module")
def patches(params) -> list:
    micrographs = simulate(1, size_px=512, nm_per_px=0.4785, seed=1)
    return list(tiles(micrographs, params["patch"]["size"], params["patch"]["min_area_px"]))


def test_mask_rcnn_r50_fpn(params, patches, tmp_path):
    settings = read_section(DetectorSettings, params["detector"])
    assert settings.weights == "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"
    # The model zoo cannot be reached from a test: weights of the same names and shapes stand in for COCO's.
    stand_in = new_network(detector_config(settings, CLASSES, 128.0, 40.0), None, seed=0).state_dict()
    save_file({k: v.contiguous() for k, v in stand_in.items()}, tmp_path / "weights.safetensors")
    settings = replace(settings, weights=str(tmp_path / "weights.safetensors"), iterations=2)

    detector, history = train_detector(patches, CLASSES, settings, seed=0, workdir=tmp_path / "work")

    cfg = detector.cfg
    assert (cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.NORM, cfg.MODEL.BACKBONE.FREEZE_AT) == (50, "FrozenBN", 2)
    assert cfg.INPUT.MIN_SIZE_TRAIN == (640, 672, 704, 736, 768, 800)
    assert (cfg.MODEL.RPN.IOU_THRESHOLDS, cfg.MODEL.ROI_HEADS.IOU_THRESHOLDS) == ([0.3, 0.7], [0.4])
    assert cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE == 128
    assert np.isfinite(history[0]["loss"])
    after = detector.model.state_dict()
    frozen = "backbone.bottom_up.stem.conv1.weight"
    assert torch.equal(after[frozen], stand_in[frozen])
    assert not torch.equal(
        after["roi_heads.box_predictor.cls_score.weight"], stand_in["roi_heads.box_predictor.cls_score.weight"]
    )


def test_unet_on_f8_latents_of_four_channels(params, patches, tmp_path, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(grain, "STEPS", 2)
    # As the Hub's f8 autoencoder of four channels, but narrow.
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
    )
    images = np.stack([p.image for p in patches])
    pairs = ImageMaskPairs(
        images, Conditioning(*map(np.stack, zip(*(conditioning_of(p, CLASSES) for p in patches), strict=True)))
    )
    settings = replace(
        read_section(LDMSettings, params["ldm"]), steps=2, batch_size=2, validation_steps=2, validation_patches=2
    )
    autoencoder = Autoencoder(vae).measured(images, seed=0)

    denoiser, history = train_ldm(autoencoder, pairs, pairs, len(CLASSES), settings, tmp_path, seed=0)

    assert denoiser.unet.config.block_out_channels == (192, 384, 576) and not denoiser.pyramid
    assert sum(p.numel() for p in denoiser.parameters()) > 50e6
    assert len(history) == 2 and all(np.isfinite(row["loss"]) for row in history)
    assert np.isfinite(history[-1]["val_loss"])
