"""Files of microscopes, through RosettaSciIO."""

from __future__ import annotations

import importlib
import math
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tem_data.images.source import Refused, Source, check_pixels
from tem_data.images.units import Size, size_of_sides

READERS = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".emd": "emd",
    ".ser": "tia",
    ".emi": "tia",
    ".mrc": "mrc",
    ".hspy": "hspy",
}
MRC_HEADER, MRC_STAMP = 1024, slice(212, 214)  # the stamp is two bytes 0x11 where numbers are big-endian

Signal = Mapping[str, Any]  # `data` and `axes`, as RosettaSciIO gives them


def is_microscope_file(path: str | os.PathLike) -> bool:
    """Whether the file is of a microscope's own format, by its suffix."""
    return Path(path).suffix.lower() in READERS


@contextmanager
def microscope_source(path: str | os.PathLike) -> Iterator[Source]:
    """All images of a file as planes. Raises Refused where it holds none, and what RosettaSciIO raises."""
    signals = read_signals(path)
    stacks = [_stack(signal) for signal in signals]
    firsts = np.cumsum([0, *map(len, stacks)])

    def plane(index: int) -> np.ndarray:
        part = int(np.searchsorted(firsts, index, side="right")) - 1
        return stacks[part][index - firsts[part]]

    yield Source(int(firsts[-1]), plane, stacks[0].shape[1:3], lambda: signal_pixel_size(signals[0]))


def read_signals(path: str | os.PathLike) -> list[Signal]:
    """The signals of a file that are images, real ones only. Raises Refused where there is none."""
    suffix = Path(path).suffix.lower()
    if suffix in (".emd", ".hspy"):
        _check_hdf5(path)
    options = {".emd": lambda: {"select_type": "images"}, ".mrc": lambda: _mrc_options(path)}.get(suffix, dict)()
    reader = importlib.import_module(f"rsciio.{READERS[suffix]}")
    signals = [signal for signal in reader.file_reader(str(path), lazy=False, **options) if _is_image(signal)]
    images = [signal for signal in signals if np.asarray(signal["data"]).dtype.kind != "c"]
    if not images:
        raise Refused("holds complex values, such as of a Fourier transform" if signals else "holds no image")
    return [_mrc_signal(signal, options["endianness"]) for signal in images] if suffix == ".mrc" else images


def signal_pixel_size(signal: Signal) -> Size:
    """The pixel size of an image as RosettaSciIO gives it, and why it is not used."""
    down, across = _image_axes(signal)
    return size_of_sides(_scale(across), str(across.get("units")), _scale(down), str(down.get("units")))


def _is_image(signal: Signal) -> bool:
    """Whether a signal is an image; DigitalMicrograph says of a cube of spectra in its tags that it is none."""
    tags = signal.get("original_metadata", {})
    for key in ("ImageList", "TagGroup0", "ImageTags", "Meta Data", "Format"):
        tags = tags.get(key, {}) if isinstance(tags, Mapping) else {}
    return len(_image_axes(signal)) == 2 and tags != "Spectrum image"


def _image_axes(signal: Signal) -> list[Mapping[str, Any]]:
    """The axes y and x of an image; of a spectrum there is one."""
    return [axis for axis in signal["axes"] if not axis.get("navigate", False)]


def _scale(axis: Mapping[str, Any]) -> float | None:
    scale = axis.get("scale")
    return float(scale) if scale is not None else None


def _stack(signal: Signal) -> np.ndarray:
    """The planes of a signal, `(planes, height, width)`, with samples as a last axis where it is a colour."""
    data = np.asarray(signal["data"])
    is_signal = [not axis.get("navigate", False) for axis in signal["axes"]]
    order = [i for i, image in enumerate(is_signal) if not image] + [i for i, image in enumerate(is_signal) if image]
    data = data.transpose(order)
    check_pixels(data.shape[-2:])
    if data.dtype.names:
        data = np.stack([data[name] for name in data.dtype.names], axis=-1)
        return data.reshape(-1, *data.shape[-3:])
    return data.reshape(-1, *data.shape[-2:])


def _mrc_options(path: str | os.PathLike) -> dict[str, Any]:
    """The byte order of an MRC file. Raises Refused where its header claims more than the file holds."""
    with open(path, "rb") as file:
        header = file.read(MRC_HEADER)
    endianness = ">" if header[MRC_STAMP] == b"\x11\x11" else "<"
    shape = struct.unpack_from(f"{endianness}3I", header)
    if math.prod(shape) > os.path.getsize(path):  # of at least a byte each
        raise Refused(f"the file ends before the {' × '.join(map(str, shape))} px of its header")
    return {"endianness": endianness}


def _mrc_signal(signal: Signal, endianness: str) -> Signal:
    """An MRC image with the byte order of its header, and without the 1 nm that stands for a header with no grid."""
    data, axes = np.asarray(signal["data"]), signal["axes"]
    if endianness == ">" and data.dtype.isnative:  # RosettaSciIO applies the order to the header only
        data = data.byteswap()
    header = signal.get("original_metadata", {}).get("std_header", {})
    if not all(int(header.get(key, 1)) for key in ("MX", "MY")):
        axes = [{**axis, "units": ""} for axis in axes]
    return {**signal, "data": data, "axes": axes}


def _check_hdf5(path: str | os.PathLike) -> None:
    """Raises Refused where a header claims an array that is too large to be read."""

    def visit(name: str, item: Any) -> None:
        shape = getattr(item, "shape", None)
        if shape is not None and len(shape) > 1 and math.prod(shape):
            check_pixels(shape, item.dtype.itemsize, os.path.getsize(path))

    with importlib.import_module("h5py").File(path, "r") as file:
        file.visititems(visit)
