"""The interface of an energy meter, and how readings become joules.

A meter has channels (a CPU package, a power rail). Each reading gives one raw number per channel:
a *counter* counts energy up and wraps around; a *power* channel gives the momentary power::

    idle before │        measured window T         │ idle after
    ────────────┼──────────────────────────────────┼───────────
    r           r    r    r    r    r    r    r    r           r = one reading, monotonic time
                ◄─Δt─►                       ◄─Δt─►            edge error ≤ Δt · P at each end

Energy of a counter is the sum of wrap-aware differences; energy of power samples is the
trapezoidal integral. Both windows begin and end with a reading of their own.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

from ..errors import DeviceError

COUNTER = "counter"
POWER = "power"
# A counter may wrap at most once between two readings: 262 kJ at 500 W is nearly nine minutes.
COUNTER_POLL_S = 5.0


class UnavailableError(DeviceError):
    """A meter cannot give a reading here.

    Args:
        reason: What is missing, naming the file or call.
        remedy: What the user can do about it; empty when nothing helps.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Channel:
    """One number of a reading.

    Attributes:
        name: Channel name, e.g. ``package-0`` or ``VDD_IN``.
        in_total: Whether the channel counts towards the meter's total. Channels that lie inside
            another one (CPU cores inside the package) are reported, never added.
        wrap: Raw value at which a counter starts again from zero; ``None`` for power.
    """

    name: str
    in_total: bool = True
    wrap: int | None = None


class Meter(ABC):
    """A source of energy readings.

    Attributes:
        name: The name that ``--energy`` takes.
        kind: ``counter`` (raw × ``scale`` = joules) or ``power`` (raw × ``scale`` = watts).
        scope: ``cpu``, ``gpu`` or ``board``: what ``--energy auto`` may use it for.
        interval_s: Interval at which the hardware renews its value, in seconds.
        scale: Factor from raw numbers to joules or watts.
    """

    name: str
    kind: str
    scope: str
    interval_s: float
    scale: float

    @abstractmethod
    def channels(self) -> tuple[Channel, ...]:
        """The channels, in the order of :meth:`read`. Raises UnavailableError."""

    @abstractmethod
    def read(self) -> tuple[float, ...]:
        """One raw reading per channel. Raises UnavailableError."""

    @property
    @abstractmethod
    def covers(self) -> str:
        """What the total includes and excludes, in words. Raises UnavailableError."""

    @property
    def unit(self) -> str:
        """``J`` for counters, ``W`` for power."""
        return "J" if self.kind == COUNTER else "W"

    def probe(self) -> float:
        """One real reading of the total, in :attr:`unit`. Raises UnavailableError."""
        pairs = zip(self.channels(), self.read(), strict=True)
        return self.scale * sum(value for channel, value in pairs if channel.in_total)

    def record(
        self, *, background: bool = True, clock: Callable[[], int] | None = None
    ) -> Recording:
        """A recording of this meter, to be used as a context manager."""
        return Recording(self, background=background, clock=clock)


@dataclass(frozen=True)
class Energy:
    """What one recording says.

    Attributes:
        joules: Energy of the meter's total.
        uncertainty_j: Bound on the edge error, in joules.
        seconds: Time between the first and the last reading.
        interval_s: The longer of the hardware's interval and the largest gap between readings
            (for counters: the hardware's interval).
        readings: Number of readings.
        channels: Joules per channel, including those that are not part of the total.
    """

    joules: float
    uncertainty_j: float
    seconds: float
    interval_s: float
    readings: int
    channels: dict[str, float]

    @property
    def watts(self) -> float:
        """Mean power over the window."""
        return self.joules / self.seconds


class Recording:
    """Readings of one meter over a window, taken by a thread at the meter's own interval.

    Args:
        meter: The meter to read.
        background: Take readings in a thread; otherwise call :meth:`sample` yourself.
        clock: Monotonic time in nanoseconds; default ``time.monotonic_ns``.

    Entering and leaving the context takes the first and the last reading. A reading that fails in
    the thread is raised when the context is left: a window with a hole is not a measurement.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        background: bool = True,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.meter = meter
        self._channels = meter.channels()
        self._clock = clock or time.monotonic_ns
        self._times: list[int] = []
        self._values: list[tuple[float, ...]] = []
        self._failure: UnavailableError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True) if background else None

    def __enter__(self) -> Recording:
        self.sample()
        if self._thread:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        if error is not None:
            return
        if self._failure:
            raise self._failure
        self.sample()

    def sample(self) -> None:
        """Take one reading now. Raises UnavailableError."""
        # Reading a sensor over I2C takes milliseconds: the middle of the call is its best time.
        before = self._clock()
        values = self.meter.read()
        self._times.append((before + self._clock()) // 2)
        self._values.append(values)

    def _loop(self) -> None:
        pause = COUNTER_POLL_S if self.meter.kind == COUNTER else self.meter.interval_s
        while not self._stop.wait(pause):
            try:
                self.sample()
            except UnavailableError as error:
                self._failure = error
                return

    def energy(self) -> Energy:
        """Energy between the first and the last reading; UnavailableError if no time passed."""
        seconds = [t * 1e-9 for t in self._times]
        if len(seconds) < 2 or seconds[-1] <= seconds[0]:
            raise UnavailableError(f"{self.meter.name}: the window has no length", "measure longer")
        columns = list(zip(*self._values, strict=True))
        joules = {
            channel.name: self._integrate(channel, seconds, column)
            for channel, column in zip(self._channels, columns, strict=True)
        }
        total = sum(joules[c.name] for c in self._channels if c.in_total)
        window = (self._times[-1] - self._times[0]) * 1e-9
        interval = self.meter.interval_s
        if self.meter.kind == POWER:
            interval = max(interval, max(b - a for a, b in pairwise(seconds)))
        edge = 2.0 * interval * abs(total) / window
        return Energy(total, edge, window, interval, len(seconds), joules)

    def _integrate(self, channel: Channel, seconds: Sequence[float], raw: Sequence[float]) -> float:
        if self.meter.kind == POWER:
            return self.meter.scale * trapezoid(seconds, raw)
        return self.meter.scale * sum(
            counter_difference(a, b, channel.wrap, self.meter.name) for a, b in pairwise(raw)
        )


def trapezoid(times: Sequence[float], values: Sequence[float]) -> float:
    """Integral of ``values`` over ``times`` by the trapezoidal rule."""
    points = list(zip(times, values, strict=True))
    return sum(0.5 * (p + q) * (t - s) for (s, p), (t, q) in pairwise(points))


def counter_difference(before: float, after: float, wrap: int | None, name: str) -> float:
    """Increase of a counter that restarts from zero at ``wrap`` (at most once in between)."""
    if after >= before:
        return after - before
    if wrap is None or before > wrap:
        raise UnavailableError(f"{name}: the counter went back from {before} to {after}")
    return after + (wrap - before)
