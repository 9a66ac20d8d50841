"""Numbers as people read them."""

from __future__ import annotations

import pytest

from millijoule.report.format import digits, figure, percent, quantity, spread


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1"),
        (12.3456, "12.35"),
        (0.00012345, "0.0001234"),
        (123456, "123,500"),
        (-2.5, "-2.5"),
        (1e-7, "1.000e-07"),
        (100, "100"),
    ],
)
def test_digits(value: float, text: str) -> None:
    assert digits(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "ms", "12.3 µs"),
        (1.0, "ms", "1 ms"),
        (0.99999, "ms", "1 ms"),
        (2500.0, "ms", "2.5 s"),
        (0.0, "ms", "0 ms"),
        (3e-8, "mJ", "30 pJ"),
        (1500.0, "mJ", "1.5 J"),
        (0.25, "W", "250 mW"),
        (-0.4, "W", "-400 mW"),
        (2048, "bytes", "2 KiB"),
        (0, "bytes", "0 B"),
        (1_746_000, "ops", "1.746 M"),
        (7, "ops", "7"),
        (0.5, "1", "0.5"),
    ],
)
def test_quantity(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_value_and_uncertainty_end_at_the_same_place() -> None:
    assert quantity(0.30964, "mJ", 0.1031) == "310 ± 100 µJ"
    assert quantity(2.11, "mJ", 0.6) == "2.11 ± 0.60 mJ"
    assert quantity(0.0, "mJ", 0.5) == "0.00 ± 0.50 mJ"
    assert quantity(4.2, "mJ", 0.0) == "4.2 mJ"
    assert spread(0.1031, "mJ") == "100 µJ"


def test_figures_and_shares() -> None:
    assert figure({"value": None, "unit": "mJ"}) == "—"
    assert figure({"value": 1.5, "unit": "W"}) == "1.5 W"
    assert percent(0.1234) == "12.3 %"
