"""Fixtures of the energy tests."""

from __future__ import annotations

import pytest

from fixtures.power_machines import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test advances."""
    return FakeClock()
