"""Boards whose flash and RAM `mj build --board` checks a program against.

``ram`` is the largest stretch of consecutive addresses: an arena cannot be split over banks. Sizes
are those of the named document of the part's maker, with nothing taken off for boot loaders or an
operating system; ``--flash`` and ``--ram`` set what is really left.
"""

from __future__ import annotations

from dataclasses import dataclass

from millijoule.bundle import Limits
from millijoule.errors import UsageError

K, M = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Board:
    """One board: its microcontroller, the target to build for, bytes of flash and RAM.

    ``source``: data sheet of the sizes. ``note``: other banks of RAM, what boot loaders take.
    """

    name: str
    part: str
    target: str
    flash: int
    ram: int
    source: str
    note: str = ""


BOARDS = {
    board.name: board
    for board in (
        Board("nucleo-f103rb", "STM32F103RB", "cortex-m3", 128 * K, 20 * K, "ST DS5319"),
        Board(
            "mbed-lpc1768",
            "LPC1768",
            "cortex-m3",
            512 * K,
            32 * K,
            "NXP LPC1769/68/67/66/65/64/63 data sheet",
            "and 2 × 16 KB for Ethernet and USB",
        ),
        Board("nucleo-f446re", "STM32F446RE", "cortex-m4", 512 * K, 128 * K, "ST DS10693"),
        Board(
            "stm32f407g-disc1",
            "STM32F407VG",
            "cortex-m4",
            M,
            128 * K,
            "ST DS8626",
            "and 64 KB of core-coupled RAM",
        ),
        Board(
            "nucleo-l476rg", "STM32L476RG", "cortex-m4", M, 96 * K, "ST DS10198", "and 32 KB SRAM2"
        ),
        Board("nrf52840-dk", "nRF52840", "cortex-m4", M, 256 * K, "Nordic nRF52840 PS"),
        Board(
            "arduino-nano-33-ble",
            "nRF52840",
            "cortex-m4",
            M,
            256 * K,
            "Nordic nRF52840 PS",
            "the boot loader takes 64 KB of flash",
        ),
        Board(
            "feather-m4-express",
            "ATSAMD51J19",
            "cortex-m4",
            512 * K,
            192 * K,
            "Microchip DS60001507",
            "the boot loader takes 16 KB of flash",
        ),
        Board("sparkfun-edge", "Apollo3 Blue", "cortex-m4", M, 384 * K, "Ambiq Apollo3 Blue DS"),
        Board(
            "stm32f746g-disco",
            "STM32F746NG",
            "cortex-m7",
            M,
            320 * K,
            "ST DS10916",
            "64 KB of it tightly coupled",
        ),
        Board(
            "nucleo-f767zi",
            "STM32F767ZI",
            "cortex-m7",
            2 * M,
            512 * K,
            "ST DS11532",
            "128 KB of it tightly coupled",
        ),
        Board(
            "nucleo-h743zi",
            "STM32H743ZI",
            "cortex-m7",
            2 * M,
            512 * K,
            "ST DS12110",
            "the AXI SRAM; 128 KB tightly coupled and 288 KB SRAM1-3 besides",
        ),
        Board(
            "teensy40",
            "i.MX RT1062",
            "cortex-m7",
            1984 * K,
            512 * K,
            "NXP IMXRT1060CEC; PJRC Teensy 4.0 (2 MB chip, 64 KB of it reserved)",
            "and 512 KB tightly coupled, which code and data share",
        ),
        Board(
            "mps3-an547",
            "Corstone-300 on MPS3",
            "cortex-m55",
            512 * K,
            512 * K,
            "Arm AN547",
            "ITCM and DTCM; SRAM and DDR besides",
        ),
    )
}


def find_board(name: str, target: str) -> Board:
    """The board called ``name``.

    Raises:
        UsageError: no such board, or it has another core than ``target``.
    """
    board = BOARDS.get(name)
    if board is None:
        raise UsageError(f"[--board] must be one of {', '.join(BOARDS)}, but is {name!r}")
    if board.target != target:
        raise UsageError(
            f"[--board] {name} carries {board.part} ({board.target}), but the target is {target};"
            f" build for --target {board.target}"
        )
    return board


def limits_of(
    target: str, board: str | None = None, flash: int | None = None, ram: int | None = None
) -> Limits:
    """The budget of a build; ``flash`` and ``ram`` in bytes replace those of the board.

    Raises:
        UsageError: a board that does not exist or has another core; a size that is not positive.
    """
    for name, size in (("--flash", flash), ("--ram", ram)):
        if size is not None and size < 1:
            raise UsageError(f"[{name}] must be a positive number of bytes, but is {size}")
    if board is None:
        return Limits(None, flash, ram)
    known = find_board(board, target)
    return Limits(known.name, flash or known.flash, ram or known.ram)
