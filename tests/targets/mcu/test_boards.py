"""The table of boards, and budgets made from it."""

from __future__ import annotations

import pytest

from millijoule.bundle import Limits
from millijoule.errors import UsageError
from millijoule.targets import check_limits, list_boards, list_targets
from millijoule.targets.mcu.boards import BOARDS, Board, limits_of
from millijoule.targets.mcu.cores import FLAGS

CORES = {target.name for target in list_targets() if target.bare_metal}


def test_every_core_has_flags_and_a_board() -> None:
    assert set(FLAGS) == CORES
    assert {board.target for board in list_boards()} == CORES
    assert len(BOARDS) >= 8


@pytest.mark.parametrize("board", list_boards(), ids=lambda board: board.name)
def test_rows_are_plausible(board: Board) -> None:
    assert BOARDS[board.name] is board
    assert board.name == board.name.lower()
    assert board.source
    assert board.flash % 1024 == board.ram % 1024 == 0
    assert 20 << 10 <= board.ram <= board.flash <= 2 << 20


def test_sizes_replace_those_of_the_board() -> None:
    assert limits_of("cortex-m4") == Limits()
    assert limits_of("cortex-m4", "nrf52840-dk") == Limits("nrf52840-dk", 1 << 20, 256 << 10)
    assert limits_of("cortex-m4", "nrf52840-dk", ram=4096) == Limits("nrf52840-dk", 1 << 20, 4096)
    assert limits_of("cortex-m4", flash=4096) == Limits(None, 4096, None)


@pytest.mark.parametrize("size", [0, -1])
def test_sizes_are_positive(size: int) -> None:
    with pytest.raises(UsageError, match="positive number of bytes"):
        check_limits("cortex-m4", None, size, None)
