from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder with the real micrographs, beside the checkout; not part of the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the real micrographs in ../shared/data")
    return SHARED
