"""Does a program give what its bundle expects of it?

Every bundle carries sample inputs with the outputs of a reference. Floating-point outputs may
differ by the tolerance in the manifest; integers, and spikes read at the taps ``spikes:…``, by
nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from .errors import BundleError
from .session import Session
from .shapes import Shapes
from .tensors import complete

__all__ = ["Check", "verify"]

_EXACT = "spikes:"


@dataclass(frozen=True)
class Check:
    """One expected output. ``max_abs_error`` is infinite where shapes differ or NaN came out."""

    name: str
    shape: tuple[int, ...]
    max_abs_error: float
    tolerance: float
    mismatches: int  # elements beyond the tolerance
    remark: str = ""
    sizes: dict[str, int] = field(default_factory=dict)  # of the sample, where some vary

    @property
    def passed(self) -> bool:
        """True if every element is within the tolerance."""
        return self.max_abs_error <= self.tolerance


def verify(session: Session) -> list[Check]:
    """Run the samples of the bundle and compare, one :class:`Check` per expected output.

    A program whose sizes vary comes with samples of several sizes.

    Raises:
        BundleError: no expected outputs, or some that this program does not have.
        DeviceError: a kernel failed.
    """
    checks = []
    for inputs, expected in session.bundle.all_samples():
        whole, _ = complete(session.manifest, inputs)
        sizes = Shapes(session.manifest).of_inputs(whole) if session.dims else {}
        found = _verify_sample(session, inputs, expected)
        checks += [replace(check, sizes=sizes) for check in found]
    return checks


def _verify_sample(
    session: Session, inputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> list[Check]:
    if not expected:
        raise BundleError(f"{session.bundle.path}: no expected outputs in it; rebuild the bundle")
    results = session.run(inputs, [name for name in expected if name in session.taps])
    checks = []
    for name, value in expected.items():
        if name not in results:
            raise BundleError(
                f"{session.bundle.path}: it expects an output {name!r}, but its program gives"
                f" {', '.join(results)}"
            )
        exact = name.startswith(_EXACT) or value.dtype.kind != "f"
        tolerance = 0.0 if exact else session.manifest.tolerance_of(name)
        checks.append(_compare(name, results[name], value, tolerance))
    return checks


def _compare(name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float) -> Check:
    if actual.shape != expected.shape:
        remark = f"shape {list(actual.shape)} instead of {list(expected.shape)}"
        return Check(name, actual.shape, math.inf, tolerance, actual.size, remark)
    with np.errstate(invalid="ignore"):  # inf - inf; equal infinities are told apart first
        difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    difference = np.nan_to_num(difference, nan=math.inf, posinf=math.inf)
    error = np.where(actual == expected, 0.0, difference)
    worst = float(error.max(initial=0.0))
    return Check(name, actual.shape, worst, tolerance, int((error > tolerance).sum()))
