"""The model that is tuned."""

from __future__ import annotations

from typing import Any

import pytest

import millijoule as mj
from fixtures.tuning import SOURCE


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What ``mj build`` takes."""
    path = tmp_path_factory.mktemp("tuned") / "rest.py"
    path.write_text(SOURCE)
    return f"{path}:rest"


@pytest.fixture(scope="session")
def model(source: str) -> Any:
    """The same, converted."""
    return mj.convert(source)
