"""Interleaving and statistics, with made-up times."""

from __future__ import annotations

import numpy as np
import pytest
from mjbench.measure import Contender, Timing, interleave, median_interval, ratio, timed


def _timing(name: str, rounds: list[list[int]]) -> Timing:
    return Timing(Contender(name, lambda: []), np.array(rounds, np.uint64))


def test_rounds_rotate_the_order_and_the_first_round_is_thrown_away() -> None:
    order: list[str] = []

    def contender(name: str) -> Contender:
        def block() -> list[int]:
            order.append(name)
            return [len(order), len(order)]

        return Contender(name, block)

    timings = interleave([contender(n) for n in "abc"], rounds=3, settle=0)
    assert "".join(order) == "cab" + "abc" + "bca" + "cab"
    assert timings["a"].ns.tolist() == [[4, 4], [9, 9], [11, 11]]


def test_contenders_need_different_names() -> None:
    with pytest.raises(ValueError, match="different names"):
        interleave([Contender("a", lambda: [1])] * 2, rounds=1)


def test_progress_counts_rounds() -> None:
    seen: list[int] = []
    interleave([Contender("a", lambda: [1])], rounds=2, progress=seen.append, settle=0)
    assert seen == [0, 1, 2]


def test_a_timing_is_the_median_over_rounds_of_block_medians() -> None:
    timing = _timing("a", [[1000, 2000, 90_000], [4000, 4000, 4000], [3000, 3000, 3000]])
    assert timing.rounds_us.tolist() == [2, 4, 3]
    assert timing.median_us == 3
    assert timing.best_us == 2


def test_a_ratio_is_formed_within_rounds() -> None:
    # the machine is five times slower in the second round, for both
    slow, fast = _timing("slow", [[20], [100], [20]]), _timing("fast", [[10], [50], [10]])
    found = ratio(slow, fast)
    assert found.value == 2
    assert found.interval == (2, 2)


def test_the_interval_holds_the_median_and_narrows_with_samples() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(10, 1, 10), rng.normal(10, 1, 1000)
    low, high = median_interval(many)
    assert low <= np.median(many) <= high
    wide_low, wide_high = median_interval(few)
    assert high - low < wide_high - wide_low


def test_timed_runs_the_warmup_but_does_not_time_it() -> None:
    calls: list[int] = []
    ns = timed(lambda: calls.append(1), calls=3, warmup=2)
    assert len(calls) == 5
    assert len(ns) == 3
    assert all(n >= 0 for n in ns)


def test_json_holds_raw_samples() -> None:
    document = _timing("a", [[1000], [3000]]).to_dict()
    assert document["samples_ns"] == [[1000], [3000]]
    assert document["median_us"] == 2
    assert document["best_round_us"] == 1
