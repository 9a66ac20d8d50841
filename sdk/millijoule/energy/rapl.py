"""RAPL: the energy counters of Intel and AMD processors, through Linux powercap.

``/sys/class/powercap/intel-rapl:N`` is a zone with ``name``, ``energy_uj`` and
``max_energy_range_uj``; ``intel-rapl:N:M`` lies below it. Packages add up. ``core`` and ``uncore``
lie inside their package; ``dram`` lies beside it (Intel SDM vol. 3B, RAPL domains), so it is added.
``psys`` contains everything and is a meter of its own. ``intel-rapl-mmio`` repeats the packages
and is ignored. The counters are model-based on older processors and measured since Haswell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .meter import COUNTER, Channel, Meter, UnavailableError
from .sysfs import read_int, read_text

POWERCAP = Path("/sys/class/powercap")
UPDATE_S = 1e-3
UDEV_RULE = 'SUBSYSTEM=="powercap", KERNEL=="intel-rapl:*", RUN+="/bin/chmod 0444 /sys%p/energy_uj"'
REMEDY = (
    "RAPL is root-only since Linux 5.10: run as root, or put this line into "
    f"/etc/udev/rules.d/70-rapl.rules and reboot: {UDEV_RULE}"
)


@dataclass(frozen=True)
class _Zone:
    path: Path
    channel: Channel


class RaplMeter(Meter):
    """Energy of the processor packages and their memory, or of the whole platform.

    Args:
        root: The powercap directory.
        platform: Read the ``psys`` zone instead of the packages.
    """

    kind = COUNTER
    interval_s = UPDATE_S
    scale = 1e-6

    def __init__(self, root: Path = POWERCAP, *, platform: bool = False) -> None:
        self.name = "rapl-psys" if platform else "rapl"
        # What psys measures depends on the board maker, so `auto` never takes it.
        self.scope = "platform" if platform else "cpu"
        self._root = Path(root)
        self._platform = platform
        self._zones: tuple[_Zone, ...] = ()

    @property
    def covers(self) -> str:
        if self._platform:
            return "platform (psys), as wired by the board maker"
        zones = self._zones or self._discover()
        return (
            "CPU "
            + " + ".join(z.channel.name for z in zones if z.channel.in_total)
            + "; board excluded"
        )

    def channels(self) -> tuple[Channel, ...]:
        self._zones = self._zones or self._discover()
        return tuple(zone.channel for zone in self._zones)

    def read(self) -> tuple[float, ...]:
        self._zones = self._zones or self._discover()
        return tuple(self._counter(zone) for zone in self._zones)

    def _counter(self, zone: _Zone) -> int:
        path = zone.path / "energy_uj"
        value = read_int(path, REMEDY)
        if not 0 <= value <= (zone.channel.wrap or 0):
            raise UnavailableError(f"{path} holds {value}, outside 0…{zone.channel.wrap}")
        return value

    def _discover(self) -> tuple[_Zone, ...]:
        if not self._root.is_dir():
            raise UnavailableError(
                f"{self._root} does not exist",
                "RAPL needs Linux on a physical Intel or AMD processor; virtual machines hide it",
            )
        zones: list[_Zone] = []
        for path in sorted(self._root.glob("intel-rapl:*"), key=_zone_order):
            if path.name.count(":") == 1:
                zones += self._zone_tree(path)
        if not zones:
            wanted = "psys" if self._platform else "package"
            raise UnavailableError(f"no RAPL zone named {wanted} under {self._root}")
        return tuple(zones)

    def _zone_tree(self, path: Path) -> list[_Zone]:
        name = read_text(path / "name")
        if self._platform:
            return [_zone(path, name, True)] if name == "psys" else []
        if not name.startswith("package"):
            return []
        tree = [_zone(path, name, True)]
        for child in sorted(path.glob(f"{path.name}:*"), key=_zone_order):
            part = read_text(child / "name")
            tree.append(_zone(child, f"{name}/{part}", part == "dram"))
        return tree


def _zone(path: Path, name: str, in_total: bool) -> _Zone:
    wrap = read_int(path / "max_energy_range_uj")
    if wrap <= 0:
        raise UnavailableError(f"{path / 'max_energy_range_uj'} holds {wrap}")
    return _Zone(path, Channel(name, in_total, wrap))


def _zone_order(path: Path) -> tuple[int, ...]:
    """Sort intel-rapl:10 after intel-rapl:2."""
    return tuple(int(part) for part in path.name.split(":")[1:] if part.isdigit())
