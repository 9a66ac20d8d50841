"""Which power rails of a Jetson add up to the whole, per board.

A board is recognised by its rails, not by its name: carrier boards rename themselves, the module's
sensors stay. Sources: NVIDIA's Jetson Linux Developer Guide (power and performance chapters) and
jetson_stats issues 51, 344 and pull request 900, where the usual mistakes are discussed: adding
sub-rails to a total that contains them, or taking the I/O rail of an AGX Orin for the total.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Board:
    """A family of boards with the same rails.

    Attributes:
        name: For messages.
        total: The rails whose sum is the total. All of them must be present.
        covers: What that total includes and excludes.
    """

    name: str
    total: tuple[str, ...]
    covers: str


MODULE = "carrier board excluded"

# The first board whose rails are all there wins: VIN and VDD_IN contain every other rail.
BOARDS = (
    Board("Jetson Thor", ("VIN",), "system input VIN, carrier board included"),
    Board(
        "Jetson Thor without INA238",
        ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),
        f"sum of the module rails, {MODULE}",
    ),
    Board(
        "Jetson AGX Orin",
        ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        f"sum of the module rails, {MODULE}",
    ),
    Board(
        "Jetson Orin Nano, Orin NX, Xavier NX or TX2",
        ("VDD_IN",),
        f"module input VDD_IN, {MODULE}",
    ),
    Board("Jetson Nano", ("POM_5V_IN",), "board input POM_5V_IN"),
    Board(
        "Jetson AGX Xavier",
        ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
        f"sum of the module rails, {MODULE}",
    ),
)


def find_board(rails: Collection[str]) -> Board | None:
    """The board whose total can be formed from ``rails``, or None."""
    return next((board for board in BOARDS if set(board.total) <= set(rails)), None)
