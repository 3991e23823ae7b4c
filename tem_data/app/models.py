"""The models that all open pages share, each loaded when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from tem_data.detection import Detector
    from tem_data.diffusion import MaskToMicrographPipeline

Model = TypeVar("Model")


@dataclass(eq=False)
class Shared(Generic[Model]):
    """A model and the lock of whoever uses it. `load` is called once."""

    load: Callable[[], Model]
    lock: Lock = field(default_factory=Lock)
    _loading: Lock = field(default_factory=Lock)
    _model: Model | None = None

    def get(self) -> Model:
        with self._loading:
            if self._model is None:
                self._model = self.load()
            return self._model


def shared_detector(name: str) -> Shared[Detector]:
    """A detector of a folder or the Hub."""

    def load() -> Detector:
        from tem_data.detection import Detector

        return Detector.from_pretrained(name)

    return Shared(load)


def shared_ldm(name: str) -> Shared[MaskToMicrographPipeline]:
    """A diffusion model of a folder or the Hub."""

    def load() -> MaskToMicrographPipeline:
        import torch

        from tem_data.diffusion import MaskToMicrographPipeline

        pipeline = MaskToMicrographPipeline.from_pretrained(name)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")

    return Shared(load)
