"""Seconds and memory of painting and of training, against the published setting in the same run.

`python benchmarks/diffusion.py [LDM_FOLDER]` paints pictures of 256×256 px with a trained model, or an untrained one of
the shape of the `fecral` profile, and takes training steps of that shape. The published setting is 200 DDIM steps on
single pictures, and a mask that is concatenated only. A GPU is used where there is one. Each line is a process of its
own, whose peak is that of the GPU's memory, or of all memory on a CPU (some 700 MiB are the libraries).
"""

from __future__ import annotations

import argparse
import resource
import timeit
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import diffusers
import numpy as np
import torch
from omegaconf import OmegaConf
from tqdm import tqdm

from tem_data.core.settings import read_settings
from tem_data.diffusion import Autoencoder, MaskToMicrographPipeline
from tem_data.diffusion.autoencoder import AutoencoderSettings, build_autoencoder
from tem_data.diffusion.conditioning import Conditioning
from tem_data.diffusion.denoiser import DenoisingLoss, LDMSettings, build_denoiser, noise_scheduler
from tem_data.diffusion.grain import Grain

CONF = Path(__file__).parents[1] / "conf"
SIZE, CLASSES, TRAINING_BATCH = 256, ("100", "111", "bdot"), 8
GPU = torch.cuda.is_available()
DEVICE, PRECISIONS = ("cuda", ("float32", "bfloat16")) if GPU else ("cpu", ("float32",))


def settings_of(section: str, kind: type) -> AutoencoderSettings | LDMSettings:
    merged = OmegaConf.merge(*(OmegaConf.load(CONF / name)[section] for name in ("config.yaml", "profile/fecral.yaml")))
    chosen = OmegaConf.to_container(merged)
    return read_settings(kind, {k: v for k, v in chosen.items() if k not in ("pretrained", "revision")}, section)


def untrained(**changes: str) -> MaskToMicrographPipeline:
    shape, ldm = settings_of("autoencoder", AutoencoderSettings), settings_of("ldm", LDMSettings)
    frozen = Autoencoder(build_autoencoder(shape, 0), grain=Grain(shape.latent_channels, shape.factor))
    unet = build_denoiser(replace(ldm, **changes), shape.latent_channels, len(CLASSES), SIZE // shape.factor, False, 0)
    return MaskToMicrographPipeline.assemble(unet, frozen, CLASSES, 0.48)


def empty_masks(count: int) -> Conditioning:
    masks = np.zeros((count, SIZE, SIZE), np.uint8)
    return Conditioning(masks, masks > 0, np.full(count, 0.48, np.float32))


def paint(ldm: str | None, dtype: str, sampler: str, steps: int, guidance: float, count: int) -> float:
    """Seconds a picture."""
    pipeline = MaskToMicrographPipeline.from_pretrained(ldm) if ldm else untrained()
    if sampler == "DDIM":
        pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.to(DEVICE, getattr(torch, dtype)).set_progress_bar_config(disable=True)
    work = partial(pipeline.paint, empty_masks(count), range(count), guidance_scale=guidance)
    work(num_inference_steps=2)  # warms up
    work.keywords["num_inference_steps"] = steps
    return median(timeit.repeat(work, number=1, repeat=5 if count * steps == 20 else 1)) / count


def train(conditioning: str, dtype: str) -> float:
    """Seconds a step, forwards and backwards."""
    pipeline, rng, patches = untrained(conditioning=conditioning), np.random.default_rng(0), np.arange(TRAINING_BATCH)
    unet, frozen, conditioning = pipeline.unet.to(DEVICE).train(), pipeline.autoencoder, empty_masks(TRAINING_BATCH)
    loss = DenoisingLoss(
        frozen.encode(conditioning.masks), conditioning, len(CLASSES), frozen.factor, noise_scheduler()
    )
    optimizer = torch.optim.AdamW(unet.parameters())

    def step() -> None:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=dtype == "bfloat16"):
            value = loss(unet, patches, *loss.draw(rng, patches, 0.1))
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        value.item()  # waits for a GPU

    return median(timeit.repeat(step, number=1, repeat=10)[1:])


def measure(work: partial) -> tuple[float, float]:
    """Seconds, and the peak memory of this process in MiB."""
    diffusers.utils.logging.set_verbosity_error()
    seconds = work()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, torch.cuda.max_memory_allocated() / 2**20 if GPU else resident / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ldm", nargs="?", help="folder or Hub name of a trained model")
    parser.add_argument("--images", type=int, default=256 if GPU else 16, help="how many at once, if memory allows")
    args, jobs = parser.parse_args(), {}
    for dtype in PRECISIONS:
        for count in (1, args.images):
            for sampling in (("DDIM", 200, 1), ("DPM-Solver++", 20, 1), ("DPM-Solver++", 20, 1.5)):
                name = "a picture, {}, {} steps, guidance {}, {} at once, {}".format(*sampling, count, dtype)
                jobs[name] = partial(paint, args.ldm, dtype, *sampling, count)
        for conditioning in ("concat", "spade"):
            jobs[f"a step of {TRAINING_BATCH} patches, {conditioning}, {dtype}"] = partial(train, conditioning, dtype)

    print(f"{SIZE}×{SIZE} px on {torch.cuda.get_device_name() if GPU else f'{torch.get_num_threads()} threads'}")
    print(f"{'':72}  seconds  of published  peak MiB")
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        results, published = pool.map(measure, jobs.values()), {}
        for name, (seconds, peak) in zip(tqdm(jobs, "measure", leave=False), results, strict=True):
            first = published.setdefault(name.split(",")[0], seconds)
            tqdm.write(f"{name:72} {seconds:8.4f} {seconds / first:13.3f} {peak:9.0f}")


if __name__ == "__main__":
    main()
