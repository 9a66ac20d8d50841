"""Comparing with an earlier profile: is the median slower, and is the difference real?

Profiles of emulated devices have exact counts instead: see :mod:`.counted_baseline`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError, VerificationError
from .counted_baseline import CountComparison, compare_counts

FORMAT = "millijoule-profile"
SCHEMA = 1
_SECTIONS = ("bundle", "conditions", "latency", "cold_start", "energy", "memory")


def load_profile(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a profile written by ``Profile.to_json``.

    Raises:
        UsageError: Unreadable, no profile, or written by another version.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UsageError(f"{path} is not a profile; write one with: mj profile B.mjb --json F")
    if data.get("schema") != SCHEMA:
        raise UsageError(
            f"{path} has profile schema {data.get('schema')}, but this version reads {SCHEMA}; "
            "measure again"
        )
    missing = [key for key in _SECTIONS if not isinstance(data.get(key), dict)]
    if missing:
        raise UsageError(f"{path} is damaged: it has no {', '.join(missing)}; measure again")
    return data


@dataclass(frozen=True)
class Comparison:
    """Median latency against a baseline.

    Attributes:
        ratio: New median over old.
        low, high: Bounds of the ratio: from the lowest to the highest block median of either run
            (:class:`~.stats.Stability`), and at least the 95 % confidence intervals.
        limit: Largest ratio allowed.
        floor: Ratio of the minima. A slower program is slower in its fastest calls, too; a busier
            machine is not.
        regressed: The ratio exceeds the limit and the difference is real: the floor exceeds the
            limit as well, and ``low`` > 1, that is, every block of the new run is slower than every
            block of the old one. Five against five equal blocks fall that way with probability
            1/252 (rank-sum test).
        inconclusive: The ratio exceeds the limit, but the difference may come from the machine.
        notes: Differences between the two set-ups.
    """

    ratio: float
    low: float
    high: float
    floor: float
    limit: float
    regressed: bool
    inconclusive: bool
    notes: tuple[str, ...]

    def __str__(self) -> str:
        text = (
            f"median latency is {self.ratio:.3f}× the baseline "
            f"(between {self.low:.3f} and {self.high:.3f}; minimum {self.floor:.3f}×; "
            f"limit {self.limit:.3f})"
        )
        if self.inconclusive:
            text += (
                "; inconclusive, because the runs overlap or the fastest calls are as fast as "
                "before: measure both with --stable on a quiet machine"
            )
        return text


def compare(
    new: dict[str, Any], old: dict[str, Any], max_regression: float = 0.05
) -> Comparison | CountComparison:
    """Compare two profiles of the same model.

    Args:
        new, old: Profiles as from :func:`load_profile` or ``Profile.to_dict``.
        max_regression: Largest relative increase that passes: of the median latency, or of the
            instructions per call where they were counted.

    Raises:
        UsageError: The profiles are of different models or units of work, or only one of them is
            of an emulated device.
    """
    for what, a, b in (
        ("model", _model(new), _model(old)),
        ("unit of work", new["unit"], old["unit"]),
    ):
        if a != b:
            raise UsageError(f"[baseline] {what} must be the same, but is {a} now and was {b}")
    limit = 1.0 + max_regression
    if new.get("instructions") or old.get("instructions"):
        return compare_counts(new, old, limit, _differences(new, old))
    (low, high), (old_low, old_high) = _range(new), _range(old)
    ratio = new["latency"]["median_ms"] / old["latency"]["median_ms"]
    floor = new["latency"]["min_ms"] / old["latency"]["min_ms"]
    real = low / old_high > 1.0 and floor > limit
    return Comparison(
        ratio=ratio,
        low=low / old_high,
        high=high / old_low,
        floor=floor,
        limit=limit,
        regressed=ratio > limit and real,
        inconclusive=ratio > limit and not real,
        notes=_differences(new, old),
    )


def check(
    new: dict[str, Any], old: dict[str, Any], max_regression: float = 0.05
) -> Comparison | CountComparison:
    """:func:`compare`, but a regression raises VerificationError (exit code 1)."""
    result = compare(new, old, max_regression)
    if result.regressed:
        raise VerificationError(f"[baseline] {result}")
    return result


def _range(profile: dict[str, Any]) -> tuple[float, float]:
    """Where the median may lie, drift during the run included."""
    latency = profile["latency"]
    medians = [*latency["median_interval_ms"], *latency["stability"]["block_medians_ms"]]
    return min(medians), max(medians)


def _model(profile: dict[str, Any]) -> str:
    model = profile["bundle"]["model"]
    return f"{model['name']} ({model['family']}, {model['variant']})"


def _differences(new: dict[str, Any], old: dict[str, Any]) -> tuple[str, ...]:
    now, then = new["conditions"], old["conditions"]
    pairs = {
        "CPU": (now["cpu_model"], then["cpu_model"]),
        "threads": (now["threads"], then["threads"]),
        "governor": (now["governor"], then["governor"]),
        "power mode": (now["power_mode"], then["power_mode"]),
        "target": (new["bundle"]["target"]["name"], old["bundle"]["target"]["name"]),
        "dtype": (new["bundle"]["target"]["dtype"], old["bundle"]["target"]["dtype"]),
    }
    return tuple(f"{what} is {a} now and was {b}" for what, (a, b) in pairs.items() if a != b)
