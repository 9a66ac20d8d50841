"""Fixtures shared by the tests of the SDK."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.manifests import small_bundle


@pytest.fixture
def bundle_path(tmp_path: Path) -> Path:
    """A small valid bundle whose program is never run."""
    return small_bundle(tmp_path / "small.mjb")
