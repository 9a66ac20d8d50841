"""Sizes that vary: arithmetic in one canonical form, bounds, and their text."""

from __future__ import annotations

import argparse

import pytest

from millijoule.cli.options import dimension
from millijoule.errors import UsageError
from millijoule.sizes import Dim, Size, dims_of, divided, least, most, parse_size

B, N = Dim("b", 1, 4), Dim("n", 2, 10)
b, n = Size.of(B), Size.of(N)


def test_equal_sizes_are_equal() -> None:
    assert b * n * 2 + 1 == 1 + n * (b + b)
    assert hash(b + n) == hash(n + b)
    assert b - b == 0
    assert isinstance(b * n - n * b + 7, int)
    assert 5 - n == n * -1 + 5
    assert b != n
    assert b != 1


def test_bounds_and_values() -> None:
    size = b * n * 3 - n
    assert (size.least, size.most) == (3 * 2 - 10, 3 * 40 - 2)
    assert size.at({"b": 2, "n": 5}) == 25
    assert (most(n), most(7), least(n), least(7)) == (10, 7, 2, 7)
    assert dims_of([b * n, 3]) == {B, N}
    assert (n.dim, (n * 2).dim) == (N, None)


def test_what_depends_on_the_size_raises() -> None:
    for question in (lambda: int(n), lambda: n < 3, lambda: range(n), lambda: n // 4):
        with pytest.raises(TypeError):
            question()


@pytest.mark.parametrize(
    ("extent", "by", "quotient"),
    [(b * n * 6, n * 2, b * 3), (12, 4, 3), (13, 4, None), (b + n, n, None), (n, b, None),
     (n * 6 + b * 4, 2, n * 3 + b * 2), (n, 0, None), (n * n, n, n), (8, n, None)],
)  # fmt: skip
def test_division_is_exact_or_none(extent: object, by: object, quotient: object) -> None:
    assert divided(extent, by) == quotient  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [n, b * n * 2 + 1, n * n - b * 3, 5])
def test_text_and_back(size: object) -> None:
    assert parse_size(str(size), {"b": B, "n": N}) == size


@pytest.mark.parametrize("text", ["", "n+", "x", "n n", "2**n", "n*2", "1e3", "(n)", "n+" * 99,
                                  "*".join("n" * 17), f"{1 << 63}*n"])  # fmt: skip
def test_texts_that_are_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_size(text, {"b": B, "n": N})


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("a b", 1, 2), ("", 1, 2), ("n", 0, 2), ("n", 3, 2), ("n", 1, 1 << 31)],
)
def test_bad_dimensions(name: str, low: int, high: int) -> None:
    with pytest.raises(UsageError):
        Dim(name, low, high)


def test_the_option() -> None:
    assert dimension("n=2..10") == (N, [])
    assert dimension("n=2..10@ids:1,a.b:0") == (N, [("ids", 1), ("a.b", 0)])
    for text in ("n", "n=2", "n=10..2", "n=2..10@", "n=2..10@ids", "2=1..2", "n=1..x"):
        with pytest.raises(argparse.ArgumentTypeError):
            dimension(text)
