"""Strict reading of JSON objects: each value is checked, and an error names the field."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, TypeVar

from ..errors import BundleError

__all__ = ["Fields", "parse_json"]

T = TypeVar("T")

MAX_INTEGER = (1 << 63) - 1
_MAX_TEXT = 4096
_MAX_DEPTH = 32


def parse_json(data: bytes, where: str) -> Any:
    """JSON value in ``data``; duplicate keys, NaN, infinity and deep nesting are refused.

    Raises:
        BundleError: not such JSON.
    """
    try:
        value = json.loads(
            data, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite
        )
    except RecursionError:
        raise BundleError(f"[{where}] is nested too deeply") from None
    except ValueError as error:  # covers JSONDecodeError and UnicodeDecodeError
        raise BundleError(f"[{where}] is not valid JSON: {error}") from error
    _check_depth(value, where, _MAX_DEPTH)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return result


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _check_depth(value: Any, where: str, depth: int) -> None:
    if isinstance(value, (dict, list)):
        if depth == 0:
            raise BundleError(f"[{where}] is nested more than {_MAX_DEPTH} deep")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, where, depth - 1)


class Fields:
    """One JSON object being read; ``where`` is its path in the document.

    Each method takes the value under a key, or raises :class:`BundleError` naming it. ``close`` (or
    the end of a ``with`` block) refuses keys that nobody asked for.
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise BundleError(f"[{where}] must be an object, but received {_show(value)}")
        self._value = value
        self._where = where
        self._seen: set[str] = set()

    def __enter__(self) -> Fields:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()

    def close(self) -> None:
        """Refuse keys that were not read."""
        unknown = sorted(set(self._value) - self._seen)
        if unknown:
            raise BundleError(
                f"[{self._where}] has an unknown field {unknown[0][:80]!r};"
                " the bundle needs a newer Millijoule or is damaged"
            )

    def fail(self, key: str, rule: str) -> NoReturn:
        """Raise: the value under ``key`` breaks ``rule``."""
        value = self._value.get(key)
        raise BundleError(f"[{self._where}.{key}] must be {rule}, but received {_show(value)}")

    def has(self, key: str) -> bool:
        """True if ``key`` is there and not null; null counts as read."""
        self._seen.add(key)
        return self._value.get(key) is not None

    def present(self, key: str) -> bool:
        """True if ``key`` is there, null or not."""
        return key in self._value

    def names(self) -> tuple[str, ...]:
        """All keys of the object, for objects whose keys are names."""
        return tuple(_read_text(key, self._where) for key in self._value)

    def any(self, key: str) -> Any:
        """The value under ``key``, whatever it is."""
        self._seen.add(key)
        if key not in self._value:
            raise BundleError(f"[{self._where}.{key}] is missing; the bundle is damaged")
        return self._value[key]

    def integer(self, key: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        """An integer in ``[low, high]``."""
        value = self.any(key)
        if type(value) is not int or not low <= value <= high:
            self.fail(key, f"an integer from {low} to {high}")
        return value

    def real(self, key: str, low: float = 0.0) -> float:
        """A finite number, at least ``low``."""
        value = self.any(key)
        try:
            number = float(value) if type(value) in (int, float) else math.nan
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or number < low:
            self.fail(key, f"a finite number of at least {low:g}")
        return number

    def text(self, key: str, pattern: str = ".+", rule: str = "a line of printable text") -> str:
        """A string that matches ``pattern`` as a whole; ``rule`` says the pattern in words."""
        value = self.any(key)
        if not _is_line(value) or not re.fullmatch(pattern, value):
            self.fail(key, rule)
        return str(value)

    def line(self, key: str) -> str:
        """A string that may be empty."""
        return self.text(key, ".*")

    def choice(self, key: str, choices: Iterable[str]) -> str:
        """One of ``choices``."""
        value = self.any(key)
        if not isinstance(value, str) or value not in choices:
            self.fail(key, "one of " + ", ".join(choices))
        return value

    def items(self, key: str, limit: int, read: Callable[[Any, str], T]) -> tuple[T, ...]:
        """A list of at most ``limit`` values, each read by ``read(value, where)``."""
        value = self.any(key)
        if not isinstance(value, list) or len(value) > limit:
            self.fail(key, f"a list of at most {limit} values")
        where = f"{self._where}.{key}"
        return tuple(read(item, f"{where}[{index}]") for index, item in enumerate(value))

    def texts(self, key: str, limit: int) -> tuple[str, ...]:
        """A list of at most ``limit`` strings."""
        return self.items(key, limit, _read_text)

    def mapping(self, key: str, limit: int = 4096) -> dict[str, Any]:
        """An object with at most ``limit`` keys and free values."""
        value = self.any(key)
        if not isinstance(value, dict) or len(value) > limit:
            self.fail(key, f"an object of at most {limit} fields")
        return dict(value)

    def record(self, key: str, limit: int = 64) -> dict[str, Any]:
        """An object like that of :meth:`mapping` whose texts, keys included, are all printable."""
        value = self.mapping(key, limit)
        if not all(_is_line(text) for text in _texts(value)):
            self.fail(key, "an object whose texts are printable lines")
        return value

    def object(self, key: str) -> Fields:
        """The object under ``key``, to be read in turn."""
        return Fields(self.any(key), f"{self._where}.{key}")

    def shape(self, key: str, max_rank: int = 8, max_elements: int = 1 << 31) -> tuple[int, ...]:
        """Dimensions, each positive, of at most ``max_elements`` elements together."""
        value = self.any(key)
        valid = isinstance(value, list) and len(value) <= max_rank
        if not valid or not all(type(size) is int and 0 < size <= max_elements for size in value):
            self.fail(key, f"a list of at most {max_rank} positive sizes")
        if math.prod(value) > max_elements:
            self.fail(key, f"a shape of at most {max_elements} elements")
        return tuple(value)


def _is_line(value: Any) -> bool:
    """Printable text only: a label may not carry terminal escapes or lone surrogates."""
    return isinstance(value, str) and len(value) <= _MAX_TEXT and value.isprintable()


def _texts(value: Any) -> Iterator[str]:
    """Every string inside ``value``, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _read_text(value: Any, where: str) -> str:
    if not _is_line(value):
        raise BundleError(f"[{where}] must be a printable text, but received {_show(value)}")
    return str(value)


def _show(value: Any) -> str:
    """``value`` short enough for an error line, without ever formatting something huge."""
    if isinstance(value, str):
        return repr(value[:60])
    if isinstance(value, (dict, list)):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 128:
        return "an integer of more than 128 bits"
    return repr(value)
