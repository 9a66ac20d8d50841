"""One reported number with its provenance.

Every figure Millijoule prints says whether it was *measured*, *estimated* or is *unavailable* and
why. A bare float never leaves the profiler.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

MEASURED = "measured"
ESTIMATED = "estimated"
UNAVAILABLE = "unavailable"
STATUSES = (MEASURED, ESTIMATED, UNAVAILABLE)


@dataclass(frozen=True)
class Figure:
    """A value, its unit and where it comes from.

    Attributes:
        value: The number in ``unit``; ``None`` exactly when ``status`` is ``unavailable``.
        unit: A physical unit such as ``mJ``, ``W``, ``ms`` or ``bytes``.
        status: ``measured``, ``estimated`` or ``unavailable``.
        source: Meter or cost table, e.g. ``rapl`` or ``horowitz-isscc14-45nm``.
        reason: Why the figure is unavailable, or what an estimate leaves out.
        window_s: Length of the measured window in seconds.
        interval_s: Sampling (or hardware update) interval in seconds.
        uncertainty: Bound on the error, in ``unit`` (half-width, not a standard deviation).
        idle_w: Idle power in watts that was subtracted, ``None`` when nothing was.
    """

    value: float | None
    unit: str
    status: str
    source: str = ""
    reason: str = ""
    window_s: float | None = None
    interval_s: float | None = None
    uncertainty: float | None = None
    idle_w: float | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"[figure] status must be one of {STATUSES}, got {self.status!r}")
        if self.status == UNAVAILABLE:
            if self.value is not None or not self.reason:
                raise ValueError("[figure] an unavailable figure has no value and a reason")
        elif self.value is None or not math.isfinite(self.value) or not self.source:
            raise ValueError(f"[figure] a {self.status} figure needs a finite value and a source")

    @classmethod
    def measured(cls, value: float, unit: str, source: str, **details: Any) -> Figure:
        """A number read from an instrument, a clock or the operating system."""
        return cls(value, unit, MEASURED, source, **details)

    @classmethod
    def estimated(cls, value: float, unit: str, source: str, **details: Any) -> Figure:
        """A number computed from a model; ``source`` names the model."""
        return cls(value, unit, ESTIMATED, source, **details)

    @classmethod
    def unavailable(cls, unit: str, reason: str) -> Figure:
        """No number, and the reason for it."""
        return cls(None, unit, UNAVAILABLE, reason=reason)

    def scaled(self, factor: float, unit: str) -> Figure:
        """The same figure in another unit or per item (value and uncertainty times ``factor``)."""
        if self.value is None:
            return Figure.unavailable(unit, self.reason)
        bound = None if self.uncertainty is None else self.uncertainty * abs(factor)
        details = {**asdict(self), "value": self.value * factor, "unit": unit, "uncertainty": bound}
        return Figure(**details)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; fields without content are left out, ``value`` never is."""
        fields = asdict(self).items()
        return {k: v for k, v in fields if k == "value" or (v is not None and v != "")}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Figure:
        """Inverse of :meth:`to_dict`."""
        return cls(**{"value": None, **data})

    def __str__(self) -> str:
        if self.value is None:
            return f"unavailable ({self.reason})"
        bound = "" if self.uncertainty is None else f" ± {_digits(self.uncertainty)}"
        return f"{_digits(self.value)}{bound} {self.unit} ({self.status}: {self.source})"


def _digits(value: float) -> str:
    """Four significant digits, grouped, without an exponent for everyday magnitudes."""
    if value == 0 or 1e-4 <= abs(value) < 1e9:
        decimals = 0 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:,.{decimals}f}"
    return f"{value:.3e}"
