"""Integration, wrap-around, edge error, and failures in the sampling thread."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.power_machines import FakeClock
from millijoule.energy.meter import (
    COUNTER,
    POWER,
    Channel,
    Meter,
    UnavailableError,
    counter_difference,
    trapezoid,
)


class ListMeter(Meter):
    """A meter that reads out a list."""

    name, scope, scale, interval_s = "list", "cpu", 1.0, 0.1

    def __init__(self, kind: str, values: list[float], wrap: int | None = None) -> None:
        self.kind = kind
        self._channel = Channel("only", wrap=wrap)
        self._values = iter(values)

    @property
    def covers(self) -> str:
        return "a list"

    def channels(self) -> tuple[Channel, ...]:
        return (self._channel,)

    def read(self) -> tuple[float, ...]:
        value = next(self._values, None)
        if value is None:
            raise UnavailableError("the list is exhausted")
        return (value,)


def test_trapezoid_is_exact_for_linear_power() -> None:
    assert trapezoid([0.0, 1.0, 3.0], [2.0, 4.0, 8.0]) == pytest.approx(15.0)


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(5, 9, 4), (5, 5, 0), (95, 3, 8), (100, 0, 0)]
)
def test_counter_difference(before: int, after: int, expected: int) -> None:
    assert counter_difference(before, after, 100, "m") == expected


@given(st.integers(1, 10**12), st.data())
def test_any_sequence_of_increments_is_recovered(wrap: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, wrap - 1))
    increments = data.draw(st.lists(st.integers(0, wrap - 1), max_size=20))
    readings = [start % wrap]
    for increment in increments:
        readings.append((readings[-1] + increment) % wrap)
    differences = [counter_difference(a, b, wrap, "m") for a, b in pairwise(readings)]
    assert differences == increments


def test_counter_without_wrap_must_not_go_back() -> None:
    with pytest.raises(UnavailableError, match=r"m: the counter went back from 5 to 4"):
        counter_difference(5, 4, None, "m")


def test_power_window(clock: FakeClock) -> None:
    meter = ListMeter(POWER, [2.0, 4.0, 4.0])
    with meter.record(background=False, clock=clock) as recording:
        clock.advance(0.1)
        recording.sample()
        clock.advance(0.4)
    energy = recording.energy()
    assert energy.joules == pytest.approx(0.3 + 1.6)
    assert energy.seconds == pytest.approx(0.5)
    assert energy.readings == 3
    # The gap of 0.4 s, not the nominal 0.1 s, bounds the error: 2 · 0.4 s · 3.8 W.
    assert energy.interval_s == pytest.approx(0.4)
    assert energy.uncertainty_j == pytest.approx(2 * 0.4 * 3.8)
    assert energy.watts == pytest.approx(3.8)


def test_counter_window_wraps_between_readings(clock: FakeClock) -> None:
    meter = ListMeter(COUNTER, [90, 10, 95, 5], wrap=100)
    with meter.record(background=False, clock=clock) as recording:
        for _ in range(2):
            clock.advance(1.0)
            recording.sample()
        clock.advance(1.0)
    assert recording.energy().joules == 20 + 85 + 10


def test_one_reading_is_no_window(clock: FakeClock) -> None:
    meter = ListMeter(COUNTER, [1, 2])
    with meter.record(background=False, clock=clock) as recording:
        pass
    with pytest.raises(UnavailableError, match="no length"):
        recording.energy()


def test_thread_samples_at_the_interval() -> None:
    meter = ListMeter(POWER, [1.0] * 1000)
    meter.interval_s = 0.005
    with meter.record() as recording:
        time.sleep(0.1)
    energy = recording.energy()
    assert energy.readings > 4
    assert energy.joules == pytest.approx(energy.seconds)


def test_failure_in_the_thread_is_raised_not_hidden() -> None:
    meter = ListMeter(POWER, [1.0, 1.0])
    meter.interval_s = 0.001
    with pytest.raises(UnavailableError, match="exhausted"), meter.record():
        time.sleep(0.1)


def test_error_of_the_workload_wins() -> None:
    meter = ListMeter(POWER, [1.0])
    with pytest.raises(ZeroDivisionError), meter.record(background=False):
        raise ZeroDivisionError
