"""Sessions of the tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import millijoule as mj
from fixtures.tiny_model.build import build_tiny


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of the ``plain`` and the ``streaming`` bundle."""
    folder = tmp_path_factory.mktemp("tiny")
    return {name: build_tiny(folder / f"{name}.mjb", name) for name in ("plain", "streaming")}


@pytest.fixture
def plain(bundles: dict[str, Path]) -> Iterator[mj.Session]:
    """Batch 2, two kernels, one of them driven by spikes."""
    with mj.load(bundles["plain"]) as session:
        yield session


@pytest.fixture
def streaming(bundles: dict[str, Path]) -> Iterator[mj.Session]:
    """One frame at a time, six frames of samples."""
    with mj.load(bundles["streaming"]) as session:
        yield session
