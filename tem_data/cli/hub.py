"""Commands that publish versions on the Hugging Face Hub, and bring them back."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tem_data.cli.app import app
from tem_data.cli.options import Texts
from tem_data.core.errors import TemDataError
from tem_data.core.settings import PARAMS, SettingsFile
from tem_data.study.arms import ARMS

if TYPE_CHECKING:
    from tem_data.hub.contents import Contents
    from tem_data.hub.publishing import Plan


class Kind(StrEnum):
    dataset = "dataset"
    ldm = "ldm"
    detector = "detector"


class RepoType(StrEnum):
    dataset = "dataset"
    model = "model"


Project = Annotated[Path, typer.Option(help="A clone in which `dvc repro` has run.", file_okay=False, exists=True)]


@app.command()
def publish(
    kind: Annotated[Kind, typer.Argument(help="All data of the study, the model of one run, or one of its detectors.")],
    repository: Annotated[str, typer.Argument(help="Name on the Hub, organisation/name.")],
    run: Annotated[str, typer.Option(help="Of a model: split-size-run, as in runs/1-10-1.")] = "",
    arm: Annotated[str, typer.Option(help=f"Of a detector: {', '.join(ARMS)}.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this nothing is sent.")] = False,
    public: Annotated[bool, typer.Option("--public", help="Let all see a repository that is made now.")] = False,
    license: Annotated[
        str | None, typer.Option(help="Licence, as the Hub names it (cc-by-4.0, …); else cards.license of params.yaml.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Such as v1.1.0; by default what follows from what changed.")
    ] = None,
    project: Project = Path(),
) -> None:
    """Publish a version on the Hugging Face Hub: one commit and one tag, private by default.

    Shows what would go where; [bold]--yes[/bold] does it. The token is that of `hf auth login` or HF_TOKEN. A publish
    that broke off is taken up by the same command; there is no tag before all is there.
    """
    from tem_data.hub.publishing import check_token, plan_version
    from tem_data.hub.publishing import publish as send

    if yes:
        check_token()
    params = SettingsFile.open(project / PARAMS).content
    with tempfile.TemporaryDirectory() as work:
        contents = _contents(kind, project, params, run, arm)
        plan = plan_version(repository, contents, params, project, work, version, license)
        _show(plan, public)
        if plan.version and yes:
            commit = send(plan, private=not public)
            print(f"{repository} {plan.version} is published, commit {commit}")
        elif plan.version:
            print("Nothing was sent. Give the command again with --yes to publish.")


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="organisation/name, or organisation/name@version; else the newest.")],
    only: Annotated[Texts, typer.Option(help="Only these outputs, or all in a folder: runs/1-10-1. Repeatable.")] = (),
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of other outputs, which go.")] = False,
    settings: Annotated[
        bool,
        typer.Option("--settings", help="Also put its params.yaml and dvc.lock in place of those here."),
    ] = False,
    type: Annotated[
        RepoType | None, typer.Option(help="Where a dataset and a model share the name: which of them.")
    ] = None,
    project: Project = Path(),
) -> None:
    """Bring a published version into the places of the pipeline, instead of running the stages that made it."""
    from tem_data.hub.pulling import pull as bring

    pulled = bring(name, project, only, replace, settings, type)
    for out in pulled.outs:
        print(f"{out}{': not what dvc.lock says' if out in pulled.foreign else ''}")
    print(f"{name}: {pulled.manifest.version}, commit {pulled.commit}")
    if pulled.kept:
        print(f"params.yaml: {', '.join(pulled.kept)} as they were here; their stages run again, or set them by hand")
    if pulled.foreign:
        revision = pulled.manifest.made_by.get("git_revision")
        print(f"dvc.lock here is of another run: take the version's by --settings, or its git revision {revision}")
    else:
        print("`dvc repro --allow-missing` takes these as made, with the settings and the code of the version.")


def _contents(kind: Kind, project: Path, params: Mapping[str, Any], run: str, arm: str) -> Contents:
    from tem_data.hub.contents import dataset_contents, detector_contents, ldm_contents
    from tem_data.study.arms import StudySettings

    if (kind is Kind.dataset and run) or (kind is not Kind.detector and arm):
        raise TemDataError(f"{'--run' if kind is Kind.dataset else '--arm'}: does not go with {kind}; leave it out")
    if kind is Kind.dataset:
        return dataset_contents(project, params)
    study = SettingsFile(params).read(StudySettings)
    runs = {cell.folder.name: cell for cell in study.every_run}
    if run not in runs:
        raise TemDataError(f"--run {run!r}: expected one of the study, {', '.join(runs)}")
    cell = runs[run]
    if kind is Kind.ldm:
        return ldm_contents(project, cell)
    if arm not in study.arms:
        raise TemDataError(f"--arm {arm!r}: expected one of the study, {', '.join(study.arms)}")
    return detector_contents(project, cell, arm)


def _show(plan: Plan, public: bool) -> None:
    from huggingface_hub import get_token
    from rich.console import Console
    from rich.table import Table

    before, console = plan.before, Console()
    if plan.version is None:
        console.print(f"{plan.repository} {before.last} has all this already; there is nothing to publish.")
        return
    seen = ("private" if before.private else "public") if before.head else ("public" if public else "private")
    state = "is there" if before.head else "will be made"
    title = f"[bold]{plan.repository} {plan.version}[/bold]: {plan.manifest.kind}"
    console.print(f"{title}; the repository {state}, {seen}")
    table = Table("in the repository", "files", "MB", "from")
    for folder, (files, size, place) in _by_folder(plan).items():
        table.add_row(folder, str(files), f"{size / 1e6:.1f}", place)
    console.print(table)
    changed = Table(f"since {before.last or 'nothing was there'}", "added", "removed", "altered")
    for group, change in plan.changes.items():
        changed.add_row(group, *map(str, change))
    console.print(changed if plan.changes else "The card, figures or provenance alone have changed.")
    console.print("README.md is the card; params.yaml and dvc.lock go as they are, with the paths that they name.")
    if not get_token():
        console.print("There is no token of the Hub: a private repository of this name would not be seen.")


def _by_folder(plan: Plan) -> dict[str, tuple[int, int, str]]:
    """Number and bytes of the files of each folder, and where they come from."""
    found: dict[str, tuple[int, int, str]] = {}
    for path, file in plan.manifest.files.items():
        folder = Path(path).parent.as_posix()
        files, size, _ = found.get(folder, (0, 0, ""))
        found[folder] = files + 1, size + file.size, Path(file.place).parent.as_posix() if file.place else ""
    return found
