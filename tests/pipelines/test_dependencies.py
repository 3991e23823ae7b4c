"""What dvc.yaml says a stage depends on is what the stage imports and reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.common import settings_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("tem_data", "pipelines")
STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def source(module: str) -> Path | None:
    """The file of a module of the project, relative to it."""
    path = Path(*module.split("."))
    found = [p for p in (path.with_suffix(".py"), path / "__init__.py") if (ROOT / p).is_file()]
    return found[0] if found and module.split(".")[0] in PACKAGES else None


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere but for a type checker alone; and the packages that hold them."""
    tree = ast.parse((ROOT / path).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:k]) for k in range(1, len(parts) + 1))


@cache
def closure(module: str) -> frozenset[Path]:
    """All files of the project that importing a module, and calling what is in it, can load."""
    found: set[Path] = set()
    waiting = [source(module)]
    while waiting:
        path = waiting.pop()
        if path is not None and path not in found:
            found.add(path)
            waiting += map(source, imported(path))
    return frozenset(filter(holds_code, found))


def holds_code(path: Path) -> bool:
    """Whether a file is more than its docstring."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse((ROOT / path).read_text()).body)


def module_of(stage: dict[str, Any]) -> str:
    return re.search(r"pipelines\.\w+", stage["cmd"])[0]


def missing(stage: dict[str, Any]) -> set[str]:
    """The files that a stage can load and does not depend on."""
    deps = [Path(dep) for dep in stage["deps"]]
    files = closure(module_of(stage))
    return {str(file) for file in files if not any(file.is_relative_to(dep) for dep in deps)}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_all_that_it_imports(name):
    lacking = missing(STAGES[name])
    assert not lacking, f"dvc.yaml, stage {name}: add to deps {sorted(lacking)}, or import less"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_no_source_that_it_does_not_import(name):
    files = closure(module_of(STAGES[name]))
    deps = [dep for dep in STAGES[name]["deps"] if dep.startswith(PACKAGES)]
    assert not [dep for dep in deps if not any(file.is_relative_to(dep) for file in files)]


@pytest.mark.parametrize("name", STAGES)
def test_a_dependency_that_is_taken_out_is_missed(name):
    for dep in [dep for dep in STAGES[name]["deps"] if dep.startswith(PACKAGES)]:
        without = STAGES[name] | {"deps": [other for other in STAGES[name]["deps"] if other != dep]}
        assert missing(without) > missing(STAGES[name]), f"{name}: nothing misses {dep}"


@pytest.mark.parametrize("name", [name for name in STAGES if "params.yaml" not in STAGES[name]["deps"]])
def test_a_stage_tracks_the_sections_that_it_reads(name):
    sections = settings_of(import_module(module_of(STAGES[name])).main)
    read = {parameter if kind is str else kind.section for parameter, kind in sections.items()}
    assert read == set(STAGES[name].get("params", ()))


def test_no_stage_reads_params_past_its_binding():
    whole = {module_of(stage) for stage in STAGES.values() if "params.yaml" in stage["deps"]}
    for path in (ROOT / "pipelines").glob("*.py"):
        if path.name != "common.py" and f"pipelines.{path.stem}" not in whole:
            assert "SettingsFile" not in path.read_text() and "params.yaml" not in path.read_text(), path.name
