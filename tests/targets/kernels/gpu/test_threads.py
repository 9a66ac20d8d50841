"""What kernels for GPUs are written with."""

from __future__ import annotations

import pytest

from millijoule.errors import UnsupportedError
from millijoule.targets.kernels.threads import ceil_div, launch


def test_grids_that_cuda_does_not_launch() -> None:
    with (
        pytest.raises(UnsupportedError, match=r"65535 blocks along y and z.*\[1, 70000\]"),
        launch([1, 70000], [32]),
    ):
        pass


def test_ceil_div() -> None:
    assert [ceil_div(n, 4) for n in (1, 4, 5)] == [1, 1, 2]
