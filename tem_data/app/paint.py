"""The tab that paints micrographs under masks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr
import numpy as np

from tem_data.app.models import Shared, shared_ldm
from tem_data.app.session import Session, legend, told
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json
from tem_data.figures.pictures import colour_of

if TYPE_CHECKING:
    from tem_data.app.painting import Masks
    from tem_data.diffusion import MaskToMicrographPipeline

CANVAS_PX = 512
MOST = 16
SHAPES, BRUSH = "from fitted shapes", "drawn with a brush"
GALLERY: dict[str, Any] = {"columns": 3, "height": 400, "object_fit": "contain", "format": "png", "show_label": False}


class Model(NamedTuple):
    """What paints: its classes, and the file of `fit-shapes` that masks are drawn from, if there is one."""

    shared: Shared[MaskToMicrographPipeline]
    classes: Sequence[str]
    shapes: Path | None


def paint_tab(session: gr.State, ldm: str | None, shapes: Path | None) -> None:
    """`ldm` is a folder or Hub name, `shapes` a file of `fit-shapes`, without which masks are drawn with the brush."""
    if ldm is None:
        remedy = "Start with `tem-data app --ldm FOLDER`, or in a project with results."
        gr.Markdown(f"No diffusion model was found. {remedy}")
        return
    model = Model(shared_ldm(ldm), class_names(ldm), shapes)
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            sources = [SHAPES, BRUSH] if shapes else [BRUSH]
            source = gr.Radio(sources, value=sources[0], label="Masks", elem_id="source")
            with gr.Group(visible=shapes is not None) as sliders:
                factors = _factors(model.classes)
            wanted = _wanted()
            with gr.Row():
                start = gr.Button("Paint", variant="primary", elem_id="paint", min_width=100)
                cancel = gr.Button("Cancel", elem_id="cancel-paint", min_width=100)
        with gr.Column(scale=3, min_width=400):
            gr.HTML(legend(model.classes))
            editor = _editor(model.classes, visible=shapes is None)
            gr.Markdown("Micrographs")
            pictures = gr.Gallery(elem_id="painted", **GALLERY)
            gr.Markdown("Masks")
            masks = gr.Gallery(elem_id="masks", **GALLERY)
            download = gr.DownloadButton("Download pictures and masks", interactive=False, elem_id="download-painted")
    source.change(_switch, source, [sliders, editor], show_progress="hidden")
    inputs = [session, source, editor, *wanted, *factors]
    start.click(partial(_paint, model), inputs, [pictures, masks, download], show_progress_on=pictures)
    cancel.click(_cancel, session, queue=False)


def _factors(classes: Sequence[str]) -> list[gr.Slider]:
    """Of the density of all defects, then of the density of each class, then of the size of each."""
    density = gr.Slider(0, 4, 1, step=0.1, label="Times as many defects as measured", elem_id="density")
    with gr.Accordion("Single classes", open=False):
        many = [gr.Slider(0, 4, 1, step=0.1, label=f"Times as many of {name}") for name in classes]
        large = [gr.Slider(0.3, 3, 1, step=0.1, label=f"Times as large: {name}") for name in classes]
    return [density, *many, *large]


def _wanted() -> list[Any]:
    """The side, the number of pictures, the first seed, guidance and steps."""
    return [
        gr.Slider(64, 512, 128, step=32, label="Side of a picture, px", elem_id="side"),
        gr.Slider(1, MOST, 4, step=1, label="Pictures", elem_id="pictures"),
        gr.Number(0, label="First seed", precision=0, minimum=0),
        gr.Slider(1, 5, 1.5, step=0.1, label="Guidance", info="How plainly defects are painted; 1 is no guidance."),
        gr.Slider(5, 100, 20, step=1, label="Steps", elem_id="steps"),
    ]


def _editor(classes: Sequence[str], visible: bool) -> gr.ImageEditor:
    colours = [colour_of(name, classes) for name in classes]
    black = np.zeros((CANVAS_PX, CANVAS_PX, 3), np.uint8)
    return gr.ImageEditor(
        {"background": black, "layers": [], "composite": None},
        label="Mask: the brush has a colour for each class",
        brush=gr.Brush(24, [*colours], colours[0], "fixed"),
        canvas_size=(CANVAS_PX, CANVAS_PX),
        fixed_canvas=True,
        sources=(),
        transforms=(),
        layers=False,
        format="png",
        height=CANVAS_PX + 120,
        visible=visible,
        elem_id="editor",
    )


def _switch(source: str) -> tuple[Any, Any]:
    return gr.update(visible=source == SHAPES), gr.update(visible=source == BRUSH)


def _cancel(session: Session) -> None:
    session.painting.set()


@told
def _paint(
    model: Model,
    session: Session,
    source: str,
    editor: dict[str, Any] | None,
    side: int,
    count: int,
    seed: int,
    guidance: float,
    steps: int,
    *factors: float,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio's way)
) -> tuple[Any, ...]:
    """Pictures, coloured masks, and both as one file."""
    from tem_data.app.painting import Asked, brushed, coloured, packed, paint

    session.painting.clear()
    progress(0, "load the model")
    if source == BRUSH:
        masks = brushed((editor or {}).get("layers") or [], model.classes, side, count)
    else:
        masks = _sampled(model, factors, side, seed, count)
    asked = Asked(seed, guidance, steps)
    images = paint(model.shared.get(), model.shared.lock, session.painting, masks, asked, progress)
    file = packed(session.new_folder() / "painted.zip", images, masks, model.classes, asked)
    return (
        [(image, f"seed {seed + number}") for number, image in enumerate(images)],
        [coloured(mask, model.classes) for mask in masks.classes],
        gr.update(value=str(file), interactive=True),
    )


def _sampled(model: Model, factors: Sequence[float], side: int, seed: int, count: int) -> Masks:
    from tem_data.app.painting import sampled
    from tem_data.masks.settings import MaskSettings

    if model.shapes is None:
        raise TemDataError("no shapes are known; start with `tem-data app --shapes FILE`, or draw a mask")
    names = len(model.classes)
    many, large = (
        dict(zip(model.classes, part, strict=True)) for part in (factors[1 : names + 1], factors[names + 1 :])
    )
    settings = MaskSettings(size_px=side, density=factors[0], class_density=many, class_size=large)
    return sampled(model.shapes, model.classes, settings, seed, count)


def class_names(ldm: str) -> list[str]:
    """The classes of a model, without loading it. Raises TemDataError where it is not one of `train-ldm`."""
    path = Path(ldm, "model_index.json")
    if not path.parent.is_dir():
        from tem_data.download.fetching import fetch

        path = fetch(ldm, [path.name]).folder / path.name
    content = read_json(path)
    names = content.get("class_names") if isinstance(content, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise TemDataError(f"{path}: expected class_names of a model of `tem-data train-ldm`; give the folder of one")
    return names
