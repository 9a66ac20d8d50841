"""Sizes that are known only when a program runs: bounded dimensions, and sums of their products.

    Dim("seq", 1, 512)                a dimension with a name and bounds, as in torch.export
    Size.of(seq) * 2 + 1              what a shape may hold in place of a number

A `Size` is a polynomial with integer coefficients, kept in one canonical form, so that equal sizes
compare equal. It never pretends to be a number: asking for its value or an order raises, and code
that must decide something when it is built asks for ``most``, its largest value within the bounds.
On the host, arithmetic with expressions of a compiler gives expressions (see `Size.to_compiler`).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from .errors import UsageError

__all__ = [
    "MAX_SIZE",
    "NAME",
    "Dim",
    "Extent",
    "Size",
    "dims_of",
    "divided",
    "least",
    "most",
    "parse_size",
]

MAX_SIZE = (1 << 31) - 1  # shapes are int32 in the C API
NAME = "[A-Za-z_][A-Za-z0-9_]{0,62}"  # of a dimension
_TERM = re.compile(r"-?[A-Za-z0-9_]+(\*[A-Za-z_][A-Za-z0-9_]*)*")
_MAX_TERMS, _MAX_FACTORS, _MAX_NUMBER = 16, 16, (1 << 63) - 1  # of a text that nobody vouches for


@dataclass(frozen=True, order=True)
class Dim:
    """A dimension with a name, of any size from ``min`` to ``max``.

    Raises UsageError for a name that is no identifier, or bounds out of order.
    """

    name: str
    min: int = 1
    max: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(NAME, self.name):
            raise UsageError(f"[dim] a name must be an identifier, but is {self.name!r}")
        bounds = (self.min, self.max)
        if any(isinstance(b, bool) or not isinstance(b, int) for b in bounds):
            raise UsageError(f"[dim {self.name}] bounds must be integers, but are {bounds}")
        if not 1 <= self.min <= self.max <= MAX_SIZE:
            raise UsageError(
                f"[dim {self.name}] bounds must be 1 ≤ min ≤ max ≤ {MAX_SIZE}, but are"
                f" {self.min}..{self.max}"
            )

    def __str__(self) -> str:
        return f"{self.name}={self.min}..{self.max}"


Product: TypeAlias = tuple[Dim, ...]
Extent: TypeAlias = "int | Size"


class Size:
    """Σ coefficient · dim · dim …; at least one term has a dim, or it would be an ``int``."""

    def __init__(self, terms: tuple[tuple[Product, int], ...]) -> None:
        self.terms = terms

    @staticmethod
    def of(dim: Dim) -> Size:
        """The size of one dimension."""
        return Size((((dim,), 1),))

    @property
    def dim(self) -> Dim | None:
        """The dimension that this is, if it is just one."""
        if len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1:
            return self.terms[0][0][0]
        return None

    @property
    def dims(self) -> frozenset[Dim]:
        """Every dimension in it."""
        return frozenset(d for product, _ in self.terms for d in product)

    @property
    def most(self) -> int:
        """Largest value within the bounds (an upper bound of it, where terms have both signs)."""
        return sum(
            c * math.prod(d.max if c > 0 else d.min for d in product) for product, c in self.terms
        )

    @property
    def least(self) -> int:
        """Smallest value within the bounds, or a lower bound of it."""
        return sum(
            c * math.prod(d.min if c > 0 else d.max for d in product) for product, c in self.terms
        )

    def at(self, sizes: Mapping[str, int]) -> int:
        """The value for given sizes of its dimensions, by name."""
        return sum(c * math.prod(sizes[d.name] for d in product) for product, c in self.terms)

    def __add__(self, other: Any) -> Any:
        terms = _terms(other)
        if terms is None:
            return self.__tvm_ffi_object__() + other
        return _collected([*self.terms, *terms])

    def __mul__(self, other: Any) -> Any:
        terms = _terms(other)
        if terms is None:
            return self.__tvm_ffi_object__() * other
        pairs = itertools.product(self.terms, terms)
        return _collected([(tuple(sorted(p + q)), c * d) for (p, c), (q, d) in pairs])

    def __sub__(self, other: Any) -> Any:
        if _terms(other) is None:
            return self.__tvm_ffi_object__() - other
        return self + other * -1

    def __rsub__(self, other: Any) -> Any:
        if _terms(other) is None:
            return other - self.__tvm_ffi_object__()
        return self * -1 + other

    def __floordiv__(self, other: Any) -> Any:
        if _terms(other) is None:
            return self.__tvm_ffi_object__() // other
        quotient = divided(self, other)
        if quotient is None:
            raise TypeError(f"the size {self} is no multiple of {other}")
        return quotient

    __radd__, __rmul__ = __add__, __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)

    def __int__(self) -> int:
        raise TypeError(f"the size {self} is known only when the program runs")

    __index__ = __int__

    def __bool__(self) -> bool:
        return True  # bounds begin at 1

    #: What a compiler on the host takes for a size; set by the code that knows the compiler.
    to_compiler: ClassVar[Callable[[Size], Any] | None] = None

    def __tvm_ffi_object__(self) -> Any:
        """The size as an expression of TVM, which asks for it by this name."""
        if Size.to_compiler is None:
            raise TypeError(f"the size {self} is no number")
        return Size.to_compiler(self)

    def __str__(self) -> str:
        return "+".join(_term_text(product, c) for product, c in self.terms)

    __repr__ = __str__


def _term_text(product: Product, coefficient: int) -> str:
    names = [d.name for d in product]
    return "*".join(names if coefficient == 1 and names else [str(coefficient), *names])


def _terms(value: Any) -> Sequence[tuple[Product, int]] | None:
    if isinstance(value, Size):
        return value.terms
    return [((), int(value))] if hasattr(value, "__index__") else None


def _collected(terms: Iterable[tuple[Product, int]]) -> Extent:
    """The sum of ``terms`` in canonical form; an int if no dimension is left."""
    total: dict[Product, int] = {}
    for product, coefficient in terms:
        total[product] = total.get(product, 0) + coefficient
    kept = tuple(sorted(((p, c) for p, c in total.items() if c), key=lambda t: (-len(t[0]), t[0])))
    if all(not product for product, _ in kept):
        return sum(c for _, c in kept)
    return Size(kept)


def most(extent: Extent) -> int:
    """The number that ``extent`` is, or the largest that it may be."""
    return extent.most if isinstance(extent, Size) else int(extent)


def least(extent: Extent) -> int:
    """The number that ``extent`` is, or the smallest that it may be."""
    return extent.least if isinstance(extent, Size) else int(extent)


def divided(extent: Extent, by: Extent) -> Extent | None:
    """``extent / by`` if that is a size whatever the dimensions are, else None."""
    if isinstance(extent, int) and isinstance(by, int):
        return extent // by if by and extent % by == 0 else None
    divisor = _terms(by)
    if divisor is None or len(divisor) != 1 or not divisor[0][1]:
        return None
    product, coefficient = divisor[0]
    quotient = []
    for terms, c in _terms(extent) or ():
        left = list(terms)
        for dim in product:
            if dim not in left:
                return None
            left.remove(dim)
        if c % coefficient:
            return None
        quotient.append((tuple(left), c // coefficient))
    return _collected(quotient)


def dims_of(extents: Iterable[Extent]) -> frozenset[Dim]:
    """Every dimension in ``extents``."""
    return frozenset().union(*(e.dims for e in extents if isinstance(e, Size)))


def parse_size(text: str, dims: Mapping[str, Dim]) -> Extent:
    """The size that ``str(size)`` wrote. ValueError for anything else or an unknown dimension."""
    parts = text.split("+")
    if len(parts) > _MAX_TERMS or len(text) > 1024:
        raise ValueError("too long a sum")
    terms: list[tuple[Product, int]] = []
    for part in parts:
        if not _TERM.fullmatch(part):
            raise ValueError(f"{part!r} is no product of sizes")
        first, *names = part.split("*")
        number = 1
        if first.lstrip("-").isdigit():
            number = int(first)
        else:
            names.insert(0, first)
        if abs(number) > _MAX_NUMBER or len(names) > _MAX_FACTORS:
            raise ValueError("too large a product")
        for name in names:
            if name not in dims:
                raise ValueError(f"{name!r} is no dimension")
        terms.append((tuple(sorted(dims[name] for name in names)), number))
    return _collected(terms)
