"""Fixtures shared by the tests of the SDK."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import millijoule as mj
from fixtures.manifests import small_bundle
from fixtures.tiny_model.build import build_tiny


@pytest.fixture
def bundle_path(tmp_path: Path) -> Path:
    """A small valid bundle whose program is never run."""
    return small_bundle(tmp_path / "small.mjb")


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the tiny model; not to be changed."""
    return build_tiny(tmp_path_factory.mktemp("tiny") / "tiny.mjb")


@pytest.fixture(scope="session")
def tiny_streaming_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the tiny streaming model; not to be changed."""
    return build_tiny(tmp_path_factory.mktemp("tiny") / "tiny-streaming.mjb", "streaming")


@pytest.fixture(scope="session")
def tiny_streaming_session(tiny_streaming_path: Path) -> Iterator[mj.Session]:
    """One session of the streaming model for tests that run many examples."""
    with mj.load(tiny_streaming_path) as session:
        yield session
