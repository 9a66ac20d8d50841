"""Interleaved timing, and statistics that survive a noisy machine.

Contenders take turns in short blocks, so that whatever slows the machine slows all of them::

    round 1:  A A A A | B B B B | C C C C      each block: untimed warm-up, then timed calls
    round 2:  B B B B | C C C C | A A A A      the order rotates
    ...

The figure of a contender is the median over rounds of the median of its block; its interval comes
from a bootstrap over rounds, because calls of one block are not independent. Ratios are formed
within rounds, where both contenders saw the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000
# Worker threads of a peer may spin for a while after its last call; let them go to sleep.
SETTLE_SECONDS = 0.003


@dataclass(frozen=True)
class Contender:
    """Something to time.

    Attributes:
        name: unique in its case.
        block: runs one block and returns nanoseconds per timed call, the same number every time.
        threads: threads that it computes with.
        setup: how it is set up, for the record.
    """

    name: str
    block: Callable[[], Sequence[int]]
    threads: int = 1
    setup: str = ""


@dataclass(frozen=True)
class Timing:
    """Samples of one contender: ``ns [rounds, calls]`` uint64."""

    contender: Contender
    ns: np.ndarray

    @property
    def rounds_us(self) -> np.ndarray:
        """Median of every round's block, in µs."""
        return np.median(self.ns, axis=1) / 1e3

    @property
    def median_us(self) -> float:
        """Median over rounds of block medians."""
        return float(np.median(self.rounds_us))

    @property
    def best_us(self) -> float:
        """Median of the fastest round's block: what the machine does when left alone."""
        return float(self.rounds_us.min())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, raw samples included."""
        return {
            "name": self.contender.name,
            "threads": self.contender.threads,
            "setup": self.contender.setup,
            "median_us": self.median_us,
            "median_interval_us": list(median_interval(self.rounds_us)),
            "mean_us": float(np.median(self.ns.mean(axis=1)) / 1e3),
            "best_round_us": self.best_us,
            "min_us": float(self.ns.min() / 1e3),
            "samples_ns": self.ns.tolist(),
        }


@dataclass(frozen=True)
class Ratio:
    """How many times longer ``slower`` takes than ``faster``: median over rounds, 95 % interval."""

    slower: str
    faster: str
    value: float
    interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "slower": self.slower,
            "faster": self.faster,
            "value": self.value,
            "interval": list(self.interval),
        }


def timed(
    call: Callable[[], object],
    calls: int,
    warmup: int,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> list[int]:
    """Nanoseconds of each of ``calls`` calls, after ``warmup`` untimed ones."""
    for _ in range(warmup):
        call()
    ns = []
    for _ in range(calls):
        start = clock()
        call()
        ns.append(clock() - start)
    return ns


def interleave(
    contenders: Sequence[Contender],
    rounds: int,
    progress: Callable[[int], None] = lambda _: None,
    settle: float = SETTLE_SECONDS,
) -> dict[str, Timing]:
    """Time all ``contenders`` in turns; one extra round at the start is thrown away."""
    samples: dict[str, list[Sequence[int]]] = {c.name: [] for c in contenders}
    if len(samples) != len(contenders):
        raise ValueError(f"contenders must have different names, but are {list(samples)}")
    for number in range(-1, rounds):
        shift = number % len(contenders)
        for contender in (*contenders[shift:], *contenders[:shift]):
            time.sleep(settle)
            ns = contender.block()
            if number >= 0:
                samples[contender.name].append(ns)
        progress(number + 1)
    return {c.name: Timing(c, np.array(samples[c.name], np.uint64)) for c in contenders}


def median_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval (percentile method) of the median of ``values [n]``."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(values), (RESAMPLES, len(values)))
    medians = np.median(values[picks], axis=1)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(medians, [tail, 100 - tail])
    return float(low), float(high)


def ratio(slower: Timing, faster: Timing) -> Ratio:
    """How many times longer ``slower`` takes, round by round."""
    quotients = slower.rounds_us / faster.rounds_us
    return Ratio(
        slower.contender.name,
        faster.contender.name,
        float(np.median(quotients)),
        median_interval(quotients),
    )
