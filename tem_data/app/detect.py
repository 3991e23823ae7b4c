"""The tab that finds defects on micrographs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from tem_data.app.models import Shared
from tem_data.app.session import Session, Stopped, line, one_line, picture_of, told

if TYPE_CHECKING:
    from tem_data.app.finding import Search
    from tem_data.detection import Detector

LOWEST = 0.1  # as `finding.FLOOR`, which needs torch
AT_ONCE = 4  # users whose searches take turns
Detectors = Mapping[str, "Shared[Detector]"]
Clicks = list[list[float]]


class Controls(NamedTuple):
    """What a user sets."""

    files: gr.File
    detector: gr.Dropdown
    thickness: gr.Number
    search: gr.Button
    cancel: gr.Button
    threshold: gr.Slider
    classes: gr.CheckboxGroup
    length: gr.Number
    for_all: gr.Checkbox
    calibrate: gr.Button
    make: gr.Button
    download: gr.DownloadButton


class Shown(NamedTuple):
    """What a user sees of one micrograph."""

    picture: gr.Image
    remarks: gr.HTML
    own: gr.Dataframe
    together: gr.Dataframe
    defects: gr.Dataframe


def detect_tab(session: gr.State, detectors: Detectors) -> None:
    """`detectors` are those that can be chosen, by the name that results call them."""
    if not detectors:
        gr.Markdown("No detector was found. Start with `tem-data app --detector FOLDER`, or in a project with results.")
        return
    clicks = gr.State([])
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            controls = _controls(list(detectors))
        with gr.Column(scale=3, min_width=400):
            micrograph = gr.Dropdown([], label="Micrograph", elem_id="micrograph", interactive=True)
            aside = gr.HTML(elem_id="set-aside", min_height=96)
            shown = _shown()
    _connect(session, detectors, clicks, controls, micrograph, aside, shown)


def _controls(detectors: list[str]) -> Controls:
    files = gr.File(label="Micrographs", file_count="multiple", height=150, elem_id="micrographs")
    detector = gr.Dropdown(detectors, label="Detector", interactive=True)
    thickness = gr.Number(0, label="Foil thickness, nm", info="For volume densities and hardening; 0: not known.")
    with gr.Row():
        search = gr.Button("Search", variant="primary", elem_id="search", min_width=100)
        cancel = gr.Button("Cancel", elem_id="cancel-search", min_width=100)
    threshold = gr.Slider(LOWEST, 1, 0.5, step=0.01, label="Least confidence", elem_id="threshold")
    classes = gr.CheckboxGroup([], label="Classes", elem_id="classes")
    with gr.Accordion("Set the scale", open=False, elem_id="scale"):
        gr.Markdown("Click on both ends of the scale bar in the picture and give its length.")
        length = gr.Number(None, label="Length of the scale bar, nm", minimum=0, elem_id="length")
        for_all = gr.Checkbox(label="For all micrographs of unknown scale")
        calibrate = gr.Button("Set the scale and search again", size="sm", elem_id="calibrate")
    make = gr.Button("Make the files", elem_id="make")
    download = gr.DownloadButton("Download all as a zip file", interactive=False, elem_id="download")
    return Controls(
        *(files, detector, thickness, search, cancel, threshold, classes, length, for_all, calibrate, make, download)
    )


def _shown() -> Shown:
    picture = picture_of("Defects", "picture")
    remarks = gr.HTML(elem_id="remarks")
    tables = (
        gr.Dataframe(headers=["class", *columns], label=label, interactive=False, elem_id=name)
        for label, name, *columns in (
            ("This micrograph", "own", "count", "mean size, px"),
            ("All micrographs", "together", "count", "mean size, px"),
            ("Defects of this micrograph", "defects", "confidence", "size_px"),
        )
    )
    return Shown(picture, remarks, *tables)


def _connect(
    session: gr.State,
    detectors: Detectors,
    clicks: gr.State,
    controls: Controls,
    micrograph: gr.Dropdown,
    aside: gr.HTML,
    shown: Shown,
) -> None:
    view = [session, micrograph, controls.threshold, controls.classes]
    views = [*shown, controls.download, clicks]
    begun = controls.search.click(
        partial(_begin, detectors),
        [session, controls.files, controls.detector, controls.thickness],
        [controls.threshold, controls.classes],
        show_progress_on=aside,
    )
    calibrated = controls.calibrate.click(
        _calibrate, [session, micrograph, clicks, controls.length, controls.for_all], clicks
    )
    for event in (begun, calibrated):
        searched = event.success(
            _search, [session, micrograph], [micrograph, aside], show_progress_on=aside, concurrency_limit=AT_ONCE
        )
        searched.then(_look, view, views, show_progress="hidden")
    for change in (controls.threshold.input, controls.classes.input, micrograph.change):
        change(_look, view, views, show_progress="hidden", trigger_mode="always_last")
    shown.picture.select(_click, [*view, clicks], [shown.picture, clicks], show_progress="hidden")
    controls.make.click(_write, [session, controls.threshold, controls.classes], controls.download)
    controls.cancel.click(_cancel, session, queue=False)


def _cancel(session: Session) -> None:
    session.finding.set()


@told
def _begin(
    detectors: Detectors,
    session: Session,
    files: Sequence[str] | None,
    name: str,
    thickness: float | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio's way)
) -> tuple[Any, Any]:
    """A new search, which ends an earlier one; the slider and the classes of its detector."""
    from tem_data.app.finding import Kept, Search

    if not files:
        raise gr.Error("Drop some micrographs first.", print_exception=False)
    session.finding.set()
    session.finding = Event()
    progress(0, "load the detector")
    detector = Kept.of(detectors[name].get(), detectors[name].lock, session.finding)
    folder = session.new_folder()
    session.search = Search(folder, name, detector, _copied(files, folder / "images"), thickness_nm=thickness or None)
    chosen = list(detector.classes)
    return max(LOWEST, detector.threshold), gr.update(choices=chosen, value=chosen)


def _copied(files: Sequence[str], folder: Path) -> list[Path]:
    """Copies, each under a name that no other has."""
    folder.mkdir()
    copies: list[Path] = []
    for file in map(Path, files):
        number, path = 1, folder / file.name
        while path.exists():
            number += 1
            path = folder / f"{file.stem}-{number}{file.suffix}"
        copies.append(Path(shutil.copy(file, path)))
    return copies


def _search(
    session: Session,
    chosen: str | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio's way)
) -> Iterator[Any]:
    """The list of micrographs, of which the chosen one, else the first, is shown once it was searched; what was set
    aside."""
    with one_line():
        search, shown = _of(session), None
        yield gr.update(choices=[], value=None), ""
        try:
            for name in search.run(progress):
                if shown is None and name in search.fields and (name == chosen or chosen not in search.shots):
                    shown = name
                    yield gr.update(choices=[name], value=name), ""
        except Stopped:
            gr.Info("Cancelled.")
        names = list(search.fields)
        yield gr.update(choices=names, value=shown or next(iter(names), None)), _aside(search)
        if not names and not search.detector.stop.is_set():
            raise gr.Error("No micrograph could be searched.", print_exception=False)


def _aside(search: Search) -> str:
    """A line for each file that was set aside."""
    rows = [
        f"{row['file']}: {(row['detail'] or row['reason']).replace(str(search.folder / 'images') + '/', '')}"
        for row in search.quarantine.rows
        if row["action"] == "set aside"
    ]
    for row in rows:
        gr.Warning(line(row), title="Set aside")
    return "".join(f"<p>Set aside: {line(row)}</p>" for row in rows)


@told
def _look(session: Session, name: str | None, threshold: float, classes: Sequence[str]) -> tuple[Any, ...]:
    """The picture, remarks and tables of a micrograph, no download yet, and no clicks."""
    from tem_data.app import views

    search, later = session.search, gr.update(value=None, interactive=False)
    if search is None or name not in search.fields:
        return None, "", None, None, None, later, []
    found = search.look(name, threshold, classes)
    return (
        views.picture(found, search.classes),
        views.remarks(search, found),
        views.number_table(search.numbers(threshold, classes, name)),
        views.number_table(search.numbers(threshold, classes)),
        views.defect_table(search.rows(found)),
        later,
        [],
    )


@told
def _click(
    session: Session, name: str | None, threshold: float, classes: Sequence[str], clicks: Clicks, at: gr.SelectData
) -> tuple[Any, Clicks]:
    """The picture with the places of the last two clicks, and these in px of the micrograph."""
    from tem_data.app import views

    search = _of(session)
    if name not in search.fields:
        return gr.update(), []
    found = search.look(name, threshold, classes)
    place = [value / views.shown_scale(found) for value in at.index]
    clicks = [*clicks[-1:], place]
    return views.picture(found, search.classes, clicks), clicks


@told
def _calibrate(session: Session, name: str | None, clicks: Clicks, length: float | None, for_all: bool) -> Clicks:
    from tem_data.app.finding import scale_of

    search = _of(session)
    if name not in search.shots:
        raise gr.Error("Search micrographs first.", print_exception=False)
    scale = scale_of(clicks, length)
    unknown = [shot for shot in search.shots.values() if shot.calibration.nm_per_px is None]
    for shot in [search.shots[name], *(unknown if for_all else ())]:
        search.scales[shot.path.name] = scale
    session.finding.clear()
    return []


@told
def _write(
    session: Session,
    threshold: float,
    classes: Sequence[str],
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> Any:
    search = _of(session)
    if not search.fields:
        raise gr.Error("Search micrographs first.", print_exception=False)
    session.finding.clear()
    progress(0, "write the files")
    return gr.update(value=str(search.write(threshold, classes)), interactive=True)


def _of(session: Session) -> Search:
    if session.search is None:
        raise gr.Error("Search micrographs first.", print_exception=False)
    return session.search
