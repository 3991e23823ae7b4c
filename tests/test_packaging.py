"""What `pip install tem_data` gives without an extra, and what the wheel holds."""

import ast
import os
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tem_data.core.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def base(folder, *words):
    """`tem-data` in this folder with the base dependencies alone, or with -c this Python."""
    start = ["-c", f"from tests.helpers.base_install import hide_extras; hide_extras(); {words[1]}"]
    command = start if words[0] == "-c" else ["-m", "tests.helpers.base_install", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=environment, capture_output=True, text=True
    )


def modules(folders=None):
    """The modules of tem_data, or of these folders of it."""
    for path in sorted((ROOT / "tem_data").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if folders is None or parts[1] in folders:
            yield path, ".".join(part for part in parts if part != "__init__")


def test_what_is_of_no_extra_imports_with_the_base_dependencies(tmp_path):
    names = [name for _, name in modules() if name.split(".")[1:2] not in [[folder] for folder in EXTRAS]]
    names.remove("tem_data.cli.__main__")
    done = base(tmp_path, "-c", f"import importlib; [importlib.import_module(name) for name in {names}]")
    assert done.returncode == 0, done.stderr[-500:]
    assert "tem_data.targets" in names and "tem_data.scoring.coco" in names


def test_the_hub_its_cards_and_the_comparison_of_pictures_import_without_torch_and_dvc(tmp_path):
    names = [name for _, name in modules(("hub", "cards"))] + ["tem_data.fidelity", "tem_data.detection"]
    done = base(tmp_path, "-c", f"import importlib; [importlib.import_module(name) for name in {names}]")
    assert done.returncode == 0, done.stderr[-500:]


STEPS = """simulate --count 14 --size-px 256 -o micrographs
split micrographs --test 4 --validation 2 --count 1 -o splits.csv
patch micrographs splits.csv --size 128 --count 20 -o patches
fit-shapes micrographs -o shapes.json
sample-masks shapes.json --size-px 128 --count 10 -o masks
compare-masks patches:validation masks --repeats 3 --classifier-repeats 1 -o compared
copy-paste patches --count 4 -o pasted"""


@pytest.mark.slow
def test_the_steps_without_a_network_run_with_the_base_dependencies(tmp_path):
    for step in STEPS.splitlines():
        done = base(tmp_path, *step.split())
        assert done.returncode == 0, (step, done.stderr[-500:])


@pytest.mark.parametrize(
    "words, extra",
    [
        ("train-ldm patches -o out --params params.yaml", "diffusion"),
        ("generate ldm masks -o out", "diffusion"),
        ("fidelity patches pairs --ldm ldm -o out --params params.yaml", "diffusion"),
        ("train-detector patches -o out --params params.yaml", "detection"),
        ("predict detector . -o out", "detection"),
        ("app --port 7861", "app"),
    ],
)
def test_a_command_of_an_extra_says_which_installs_it(tmp_path, words, extra):
    (tmp_path / "params.yaml").write_text("{autoencoder: {}, ldm: {}, detector: {}, judges: {}, evaluate: {}}")
    done = base(tmp_path, *words.split())
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ") and f"`pip install 'tem_data[{extra}" in done.stderr


def test_without_dvc_its_extra_is_named(tmp_path):
    asked = "from pathlib import Path; from tem_data.hub.provenance import check_outs; check_outs(Path(), [Path('x')])"
    code = f"import tem_data.cli as cli\ndef app(): {asked}\ncli.app = app; cli.main()"
    done = base(tmp_path, "-c", f"exec({code!r})")
    assert done.returncode == 1
    assert done.stderr == "error: dvc is not installed; `pip install 'tem_data[pipeline]'` brings it\n"


def test_a_fault_of_our_own_keeps_its_traceback(tmp_path):
    code = "import tem_data.cli as cli\ndef app(): import tem_data.detection.gone\ncli.app = app; cli.main()"
    assert "Traceback" in base(tmp_path, "-c", f"exec({code!r})").stderr


def test_detectron2_alone_missing_says_how_it_is_installed(tmp_path):
    code = "import sys; sys.modules['detectron2'] = None; import tem_data.detection.model"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "TemDataError: detectron2 cannot be imported" in done.stderr and "pip install --no-deps" in done.stderr
    pinned = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("DETECTRON2"))
    assert pinned.split(":= ")[1] in done.stderr


def test_every_library_that_is_imported_is_declared():
    texts = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    declared = {canonicalize_name(Requirement(text).name) for text in texts} | {"sal-detectron2", "pydantic-core"}
    known = packages_distributions()
    for path, _ in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else names
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"tem_data"}:
                assert declared & set(map(canonicalize_name, known.get(name, ()))), f"{path}: {name}"


@pytest.mark.slow
def test_the_wheel_holds_the_templates_and_no_tests(tmp_path):
    source = tmp_path / "source"  # as the build leaves files beside what it builds
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, source], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(command, check=True)
    names = ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {Path(name).parts[0].partition("-")[0] for name in names} == {"tem_data"}
    kept = {str(path.relative_to(ROOT)) for path in (ROOT / "tem_data").rglob("*.jinja")}
    assert kept and kept <= set(names)
