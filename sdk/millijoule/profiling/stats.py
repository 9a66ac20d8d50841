"""Statistics of latency samples, without assuming any distribution.

Latency has a hard floor and a long tail, so medians and order statistics describe it and mean ± σ
does not. The confidence interval of the median comes from ranks: the number of samples below the
true median is binomial(n, ½), here in its normal approximation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

NS_PER_MS = 1e6
CONFIDENCE = 0.95
_Z = 1.959963984540054  # quantile of the normal distribution for CONFIDENCE
BLOCKS = 5
MIN_SAMPLES = 25
MAX_INTERVAL = 0.01
MAX_DRIFT = 0.05


def median_interval(samples: np.ndarray) -> tuple[float, float]:
    """95 % confidence interval of the median of ``samples[n]``, in their unit."""
    ordered = np.sort(samples)
    n = len(ordered)
    reach = _Z * math.sqrt(n) / 2
    low = max(0, math.floor(n / 2 - reach) - 1)
    high = min(n - 1, math.ceil(n / 2 + reach))
    return float(ordered[low]), float(ordered[high])


def summarize(samples_ns: np.ndarray, percentiles: Sequence[float]) -> dict[str, Any]:
    """Summary of ``samples_ns[n]`` (n ≥ 1) in ms; percentiles interpolate linearly."""
    ms = samples_ns / NS_PER_MS
    low, high = median_interval(ms)
    return {
        "count": len(ms),
        "min_ms": float(ms.min()),
        "mean_ms": float(ms.mean()),
        "median_ms": float(np.median(ms)),
        "max_ms": float(ms.max()),
        "stddev_ms": float(ms.std(ddof=1)) if len(ms) > 1 else 0.0,
        "percentiles_ms": {f"{p:g}": float(np.percentile(ms, p)) for p in percentiles},
        "median_interval_ms": [low, high],
        "confidence": CONFIDENCE,
    }


@dataclass(frozen=True)
class Stability:
    """Whether the median can be trusted.

    Attributes:
        stable: All criteria are met.
        interval: Half-width of the median's confidence interval, relative to the median.
        drift: Largest difference between the medians of five consecutive blocks of samples,
            relative to the median: catches clock changes that the interval, which takes samples as
            independent, cannot see.
        reason: What failed and what helps; empty when stable.
        block_medians_ms: The medians of the blocks.
        criterion: The rule, in words.
    """

    stable: bool
    interval: float
    drift: float
    reason: str
    block_medians_ms: tuple[float, ...]
    criterion: str = (
        f"at least {MIN_SAMPLES} samples, {CONFIDENCE:.0%} confidence interval of the median "
        f"within ±{MAX_INTERVAL:.0%}, medians of {BLOCKS} consecutive blocks within {MAX_DRIFT:.0%}"
    )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "block_medians_ms": list(self.block_medians_ms)}


def stability(samples_ns: np.ndarray) -> Stability:
    """Judge ``samples_ns[n]``, in the order in which they were taken."""
    samples = samples_ns / NS_PER_MS
    median = float(np.median(samples))
    low, high = median_interval(samples)
    interval = (high - low) / 2 / median
    blocks = np.array_split(samples, min(BLOCKS, len(samples)))
    medians = tuple(float(np.median(block)) for block in blocks)
    drift = (max(medians) - min(medians)) / median
    problems = []
    if len(samples) < MIN_SAMPLES:
        problems.append(f"only {len(samples)} samples")
    if interval > MAX_INTERVAL:
        problems.append(f"the median is known to ±{interval:.1%} only")
    if drift > MAX_DRIFT:
        problems.append(f"the median drifted by {drift:.1%} during the run")
    if problems:
        problems[-1] += (
            "; fix the clock (cpupower frequency-set -g performance), stop other work, and "
            "lengthen --duration"
        )
    return Stability(not problems, interval, drift, ", ".join(problems), medians)
