"""`python -m tests.helpers.base_install …` runs `tem-data …` as where only the base dependencies are installed.

Whatever else this environment has cannot be imported.
"""

import sys
import tomllib
from contextlib import suppress
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def hide_extras() -> None:
    """From now on nothing is found that `pip install tem_data` does not bring."""
    brought = _brought(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    hidden = {
        module
        for module, names in packages_distributions().items()
        if module not in ("tem_data", "tests") and not brought & set(map(canonicalize_name, names))
    }

    class BaseFinder(PathFinder):
        @classmethod
        def find_spec(cls, fullname, path=None, target=None):
            return None if fullname.partition(".")[0] in hidden else super().find_spec(fullname, path, target)

    sys.meta_path = [BaseFinder if finder is PathFinder else finder for finder in sys.meta_path]
    for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
        del sys.modules[name]


def _brought(dependencies: list[str]) -> set[str]:
    """The names of these distributions and of all that they need in turn."""
    found: set[str] = set()
    seen, waiting = set(), [(Requirement(text), {""}) for text in dependencies]
    while waiting:
        requirement, extras = waiting.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        found.add(name := canonicalize_name(requirement.name))
        wanted = {"", *requirement.extras}
        if (name, *sorted(wanted)) in seen:
            continue
        seen.add((name, *sorted(wanted)))
        with suppress(PackageNotFoundError):  # for another platform
            waiting += [(Requirement(text), wanted) for text in requires(name) or ()]
    return found


if __name__ == "__main__":
    hide_extras()
    from tem_data.cli import main

    main()
