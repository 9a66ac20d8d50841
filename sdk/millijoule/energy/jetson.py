"""Jetson power rails: INA3221 and INA238 sensors in sysfs. They give power; there is no counter.

- JetPack 5 and later: ``bus/i2c/drivers/ina3221/*/hwmon/hwmon*``: ``in{1..3}_label`` names the
  rail, power = ``in{N}_input`` (mV) × ``curr{N}_input`` (mA). ``in7`` is the sum of shunt voltages,
  no rail; a channel labelled NC is not connected.
- JetPack 4: ``bus/i2c/drivers/ina3221x/*/iio:device*``: ``rail_name_{0..2}``,
  ``in_power{N}_input`` in mW.
- Thor: ``bus/i2c/drivers/ina238/*/hwmon/hwmon*``: ``label`` (VIN), ``power1_input`` in µW.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .boards import find_board
from .meter import POWER, Channel, Meter, UnavailableError
from .sysfs import read_int, read_text

SYSFS = Path("/sys")
# The sensor averages for tens of milliseconds; reading faster repeats values.
UPDATE_S = 0.1
NOT_CONNECTED = "NC"
HWMON_CHANNELS = (1, 2, 3)
IIO_CHANNELS = (0, 1, 2)


@dataclass(frozen=True)
class Rail:
    """One power rail: the product of the integers in ``files`` × ``watts`` is its power."""

    name: str
    files: tuple[Path, ...]
    watts: float

    def power_w(self) -> float:
        """Momentary power in watts; an idle rail may read slightly below zero."""
        product = 1
        for path in self.files:
            product *= read_int(path)
        return product * self.watts


def find_rails(sysfs: Path = SYSFS) -> tuple[Rail, ...]:
    """Every connected rail of every sensor, in a stable order. Raises UnavailableError for none."""
    drivers = Path(sysfs) / "bus/i2c/drivers"
    rails = [
        *_ina3221(drivers / "ina3221"),
        *_ina3221x(drivers / "ina3221x"),
        *_ina238(drivers / "ina238"),
    ]
    names = [rail.name for rail in rails]
    if not rails:
        raise UnavailableError(f"no INA3221 or INA238 power sensor under {drivers}")
    if len(set(names)) != len(names):
        raise UnavailableError(f"rail names repeat under {drivers}: {', '.join(names)}")
    return tuple(rails)


def _ina3221(driver: Path) -> Iterator[Rail]:
    for folder in sorted(driver.glob("*/hwmon/hwmon*")):
        for n in HWMON_CHANNELS:
            label = folder / f"in{n}_label"
            if label.exists() and (name := read_text(label)) != NOT_CONNECTED:
                yield Rail(name, (folder / f"in{n}_input", folder / f"curr{n}_input"), 1e-6)


def _ina3221x(driver: Path) -> Iterator[Rail]:
    for folder in sorted(driver.glob("*/iio:device*")):
        for n in IIO_CHANNELS:
            label = folder / f"rail_name_{n}"
            if label.exists() and (name := read_text(label)) != NOT_CONNECTED:
                yield Rail(name, (folder / f"in_power{n}_input",), 1e-3)


def _ina238(driver: Path) -> Iterator[Rail]:
    for folder in sorted(driver.glob("*/hwmon/hwmon*")):
        label = folder / "label"
        name = read_text(label) if label.exists() else "VIN"
        yield Rail(name, (folder / "power1_input",), 1e-6)


class JetsonMeter(Meter):
    """The whole board (or module), or one rail of it.

    Args:
        sysfs: The sysfs root.
        rail: One rail instead of the board's total.
    """

    kind = POWER
    interval_s = UPDATE_S
    scale = 1.0

    def __init__(self, sysfs: Path = SYSFS, rail: str | None = None) -> None:
        self.name = f"jetson:{rail}" if rail else "jetson"
        self.scope = "rail" if rail else "board"
        self._sysfs = Path(sysfs)
        self._rail = rail
        self._found: tuple[Rail, ...] = ()

    @property
    def covers(self) -> str:
        if self._rail:
            return f"rail {self._rail} only"
        return self._total()[1]

    def channels(self) -> tuple[Channel, ...]:
        total = {self._rail} if self._rail else set(self._total()[0])
        return tuple(Channel(rail.name, rail.name in total) for rail in self._rails())

    def read(self) -> tuple[float, ...]:
        return tuple(rail.power_w() for rail in self._rails())

    def _rails(self) -> tuple[Rail, ...]:
        if not self._found:
            rails = find_rails(self._sysfs)
            if self._rail:
                names = ", ".join(rail.name for rail in rails)
                rails = tuple(rail for rail in rails if rail.name == self._rail)
                if not rails:
                    raise UnavailableError(f"no rail {self._rail}", f"the rails here are {names}")
            self._found = rails
        return self._found

    def _total(self) -> tuple[tuple[str, ...], str]:
        names = [rail.name for rail in self._rails()]
        board = find_board(names)
        if board is None:
            raise UnavailableError(
                f"which of the rails {', '.join(names)} make the total of this board is not known",
                f"measure one rail with --energy jetson:{names[0]}",
            )
        return board.total, f"{board.name}: {board.covers}"
