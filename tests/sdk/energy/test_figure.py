"""A figure cannot exist without saying where it comes from."""

from __future__ import annotations

import math

import pytest

from millijoule.energy import Figure


def test_text() -> None:
    figure = Figure.measured(12.3456, "mJ", "rapl", uncertainty=0.5)
    assert str(figure) == "12.35 ± 0.5000 mJ (measured: rapl)"
    assert str(Figure.unavailable("mJ", "no meter")) == "unavailable (no meter)"
    assert str(Figure.estimated(1.5e-7, "mJ", "t")) == "1.500e-07 mJ (estimated: t)"
    assert str(Figure.measured(123456, "bytes", "os")) == "123,456 bytes (measured: os)"


def test_round_trip() -> None:
    for figure in (
        Figure.measured(1 / 3, "mJ", "rapl", window_s=2.0, idle_w=0.0),
        Figure.unavailable("W", "no meter"),
    ):
        assert Figure.from_dict(figure.to_dict()) == figure


def test_scaling_keeps_the_provenance() -> None:
    figure = Figure.measured(2.0, "J", "rapl", uncertainty=0.1, window_s=3.0).scaled(1e3, "mJ")
    assert (figure.value, figure.uncertainty, figure.unit) == (2000.0, 100.0, "mJ")
    assert figure.window_s == 3.0
    assert Figure.unavailable("J", "why").scaled(2, "mJ").reason == "why"


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_number_must_be_finite(value: float | None) -> None:
    with pytest.raises(ValueError, match="finite value"):
        Figure(value, "mJ", "measured", "rapl")


def test_a_reason_or_source_is_required() -> None:
    with pytest.raises(ValueError, match="source"):
        Figure(1.0, "mJ", "measured")
    with pytest.raises(ValueError, match="reason"):
        Figure(None, "mJ", "unavailable")
    with pytest.raises(ValueError, match="status"):
        Figure(1.0, "mJ", "guessed", "me")
