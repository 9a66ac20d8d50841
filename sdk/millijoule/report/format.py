"""Numbers for people: four significant digits and a fitting unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# Unit in the data → (factor to the base unit, units to choose from, smallest first).
_SCALES: dict[str, tuple[float, tuple[tuple[float, str], ...]]] = {
    "ms": (1e-3, ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))),
    "mJ": (1e-3, ((1e-12, "pJ"), (1e-9, "nJ"), (1e-6, "µJ"), (1e-3, "mJ"), (1.0, "J"))),
    "W": (1.0, ((1e-6, "µW"), (1e-3, "mW"), (1.0, "W"))),
    "s": (1.0, ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))),
    "bytes": (1.0, ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"))),
    "ops": (1.0, ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"))),
    "1": (1.0, ((1.0, ""),)),
}


def digits(value: float) -> str:
    """Four significant digits, thousands grouped, no exponent between 0.0001 and 10⁹."""
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if not -5 < magnitude < 9:
        return f"{value:.3e}"
    text = f"{round(value, 3 - magnitude):,.{max(0, 3 - magnitude)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _fit(value: float, unit: str) -> tuple[float, str]:
    """Divisor and unit in which ``value`` is at least 1, where there is one."""
    to_base, choices = _SCALES[unit]
    size = abs(value) * to_base
    fitting = [choice for choice in choices if size >= choice[0] * 0.99995]
    factor, name = fitting[-1] if fitting else choices[0]
    if size == 0:
        factor, name = next((c for c in choices if c[0] == to_base), choices[0])
    return factor / to_base, name


def quantity(value: float, unit: str, uncertainty: float | None = None) -> str:
    """A value of the data in a unit that suits people, e.g. ``0.0123, "ms"`` → ``12.3 µs``."""
    divisor, name = _fit(value, unit)
    text = digits(value / divisor)
    if uncertainty:
        text = _rounded(value / divisor, uncertainty / divisor)
    return f"{text} {name}".strip()


def spread(uncertainty: float, unit: str) -> str:
    """An uncertainty by itself: two significant digits."""
    divisor, name = _fit(uncertainty, unit)
    value = uncertainty / divisor
    places = 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, places):,.{max(0, places)}f} {name}"


def _rounded(value: float, uncertainty: float) -> str:
    """``value ± uncertainty``: two digits of the uncertainty, and the value to the same place."""
    places = 1 - math.floor(math.log10(abs(uncertainty)))
    # A tiny uncertainty must not make the value look more precise than four digits do elsewhere.
    own = places if value == 0 else min(places, max(0, 3 - math.floor(math.log10(abs(value)))))
    shown = f"{round(value, own):,.{max(0, own)}f}"
    return f"{shown} ± {round(uncertainty, places):,.{max(0, places)}f}"


def figure(data: Mapping[str, Any]) -> str:
    """A figure from a profile without its status: value ± uncertainty, or a dash."""
    if data["value"] is None:
        return "—"
    return quantity(data["value"], data["unit"], data.get("uncertainty"))


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"
