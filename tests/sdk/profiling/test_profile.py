"""The profiler on the tiny model, with a meter of known power and without one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import millijoule as mj
from millijoule.energy.meter import COUNTER, Channel, Meter, UnavailableError
from millijoule.profiling import check, layers, load_profile
from millijoule.profiling.layers import time_kernels
from millijoule.profiling.stats import Stability


class TenWatts(Meter):
    """A counter that gains 10 J per second of real time."""

    name, kind, scope, interval_s, scale = "ten-watts", COUNTER, "cpu", 1e-3, 1e-6

    @property
    def covers(self) -> str:
        return "nothing"

    def channels(self) -> tuple[Channel, ...]:
        return (Channel("all", wrap=2**40),)

    def read(self) -> tuple[float, ...]:
        return (round(time.monotonic() * 10e6) % 2**40,)


QUICK = {"duration": 0.05, "energy": "off", "warmup": 2}


def test_latency_and_layers(plain: mj.Session) -> None:
    data = mj.profile(plain, **QUICK).to_dict()
    samples = np.array(data["latency"]["samples_ns"])
    assert data["latency"]["count"] == len(samples) >= 10
    assert data["latency"]["median_ms"] == np.median(samples) / 1e6
    assert set(data["latency"]["percentiles_ms"]) == {"50", "90", "95", "99"}
    names = [row["name"] for row in data["layers"]["kernels"]]
    assert names == [kernel.name for kernel in plain.manifest.kernels]
    assert sum(row["share"] for row in data["layers"]["kernels"]) == pytest.approx(1.0)
    assert data["layers"]["total_ms"] <= data["layers"]["hooked_call_ms"]
    assert data["memory"]["arena_bytes"]["value"] == plain.manifest.arena.bytes
    assert data["cold_start"]["total_ms"]["value"] > 0
    assert data["energy"]["measured"]["energy_mj"]["reason"] == "energy measurement is switched off"


def test_iterations_are_a_lower_bound(plain: mj.Session) -> None:
    data = mj.profile(plain, iterations=17, duration=0, energy="off", layers=False).to_dict()
    assert data["latency"]["count"] == 17
    assert data["layers"] is None
    assert data["energy"]["estimated"] == []


def test_energy_and_latency_come_from_the_same_calls(plain: mj.Session) -> None:
    profile = mj.profile(plain, duration=0.3, energy=TenWatts(), idle_seconds=0.1, warmup=3)
    data = profile.to_dict()
    energy = data["energy"]["measured"]
    assert energy["runs"] == data["latency"]["count"] + 3
    assert energy["power_w"]["value"] == pytest.approx(10.0, rel=0.01)
    total_j = energy["energy_mj"]["value"] * energy["runs"] / 1e3
    assert total_j == pytest.approx(10.0 * energy["energy_mj"]["window_s"], rel=0.01)
    assert abs(energy["net_energy_mj"]["value"]) <= energy["net_energy_mj"]["uncertainty"] * 1.5
    assert energy["energy_mj"]["status"] == "measured"


def test_a_meter_that_dies_is_an_error_not_a_gap(plain: mj.Session) -> None:
    class Dying(TenWatts):
        readings = 0

        def read(self) -> tuple[float, ...]:
            self.readings += 1
            if self.readings > 3:
                raise UnavailableError("unplugged")
            return super().read()

    with pytest.raises(mj.DeviceError, match="ten-watts failed during the run: unplugged"):
        mj.profile(plain, duration=0.01, energy=Dying(), idle_seconds=0.01)


def test_auto_without_a_meter_says_why(plain: mj.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millijoule.energy.sources.list_meters", lambda: [])
    data = mj.profile(plain, iterations=5, duration=0, layers=False).to_dict()
    assert data["energy"]["measured"]["energy_mj"]["status"] == "unavailable"
    assert "no meter gives a reading" in data["energy"]["measured"]["energy_mj"]["reason"]


def test_a_named_meter_is_never_replaced(plain: mj.Session) -> None:
    with pytest.raises(mj.UsageError, match="unknown source 'wattmeter'"):
        mj.profile(plain, energy="wattmeter")


def test_threads_are_put_back(plain: mj.Session) -> None:
    data = mj.profile(plain, threads=2, layers=False, **QUICK).to_dict()
    assert data["conditions"]["threads"] == 2
    assert plain.threads == 1


def test_streaming_profiles_the_step(streaming: mj.Session) -> None:
    data = mj.profile(streaming, **QUICK).to_dict()
    assert data["unit"] == "one step of a stream (one frame), batch 1"
    assert data["operations"]["calls"] == 6
    assert data["real_time"] is None  # the tiny model has no front end


def test_real_time_factor(streaming: mj.Session) -> None:
    from dataclasses import replace

    model = replace(streaming.manifest.model, frontend={"kind": "log-mel", "shift_ms": 10.0})
    streaming.manifest = replace(streaming.manifest, model=model)
    data = mj.profile(streaming, layers=False, **QUICK).to_dict()
    assert data["real_time"]["frame_shift_ms"] == 10.0
    assert data["real_time"]["factor"]["value"] == data["latency"]["median_ms"] / 10.0


def test_profiling_leaves_fresh_states(streaming: mj.Session) -> None:
    x = np.ones((1, 6, 4), np.float32)
    before = streaming.run({"x": x})["logits"]
    mj.profile(streaming, **QUICK)
    np.testing.assert_array_equal(streaming.run({"x": x})["logits"], before)


def test_sustained_run_follows_latency_over_time(plain: mj.Session) -> None:
    data = mj.profile(
        plain, iterations=1, duration=1.2, energy="off", layers=False, sustained=True
    ).to_dict()["sustained"]
    assert len(data["windows"]) == 2
    assert data["windows"][1]["t_s"] == pytest.approx(1.0, abs=0.3)
    assert all(w["median_ms"] <= w["p99_ms"] <= w["max_ms"] for w in data["windows"])
    assert data["slowdown"] > -1


def test_stable_refuses_an_unstable_machine(
    plain: mj.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def shaky(samples: np.ndarray) -> Stability:
        seen.append(len(samples))
        return Stability(False, 0.5, 0.5, "the median drifted by 50.0% during the run", ())

    monkeypatch.setattr("millijoule.profiling.timed_run.stability", shaky)
    with pytest.raises(mj.VerificationError, match="not stable after 3 runs: the median drifted"):
        mj.profile(plain, stable=True, **QUICK)
    assert len(seen) >= 3


def test_json_trace_and_baseline_files(plain: mj.Session, tmp_path: Path) -> None:
    profile = mj.profile(plain, **QUICK)
    profile.to_json(tmp_path / "p.json")
    loaded = load_profile(tmp_path / "p.json")
    assert loaded == profile.to_dict()
    assert check(loaded, loaded).ratio == 1.0
    profile.to_trace(tmp_path / "t.json")
    trace = json.loads((tmp_path / "t.json").read_text())
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert [span["name"] for span in spans[1:]] == ["scale · multiply", "head · sum"]
    assert spans[2]["ts"] == pytest.approx(spans[1]["ts"] + spans[1]["dur"])
    assert spans[0]["dur"] >= sum(span["dur"] for span in spans[1:])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.json", "t.json"]


def test_a_trace_needs_layers(plain: mj.Session, tmp_path: Path) -> None:
    with pytest.raises(mj.UsageError, match="without layers"):
        mj.profile(plain, layers=False, **QUICK).to_trace(tmp_path / "t.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1"),
        ({"warmup": -1}, "warmup must not be negative"),
        ({"duration": -1.0}, "duration must not be negative"),
        ({"percentiles": (101,)}, "percentiles must be within"),
        ({"idle_seconds": -1}, "idle_seconds must not be negative"),
        ({"threads": 0}, "thread"),
        ({"sustained": True, "duration": 0.0}, "a sustained run needs time"),
        ({"cost_tables": ("x",)}, "unknown cost table"),
    ],
)
def test_bad_arguments(plain: mj.Session, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(mj.UsageError, match=message):
        mj.profile(plain, **{**QUICK, **arguments})


def test_interrupted_calls_do_not_count_as_kernel_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]  # the test's own clock, in ns: a busy machine must not interrupt calls of its own
    fake = SimpleNamespace(perf_counter_ns=lambda: now[0], perf_counter=lambda: now[0] / 1e9)
    monkeypatch.setattr(layers, "time", fake)

    class Interrupted:
        """Kernels of 1 and 2 µs; every fifth call takes 1 ms longer."""

        calls = 0
        kernel_times = staticmethod(lambda on: None)
        clear_kernel_ns = staticmethod(lambda: None)

        def run(self) -> None:
            self.calls += 1
            now[0] += 1_003_000 if self.calls % 5 == 0 else 3_000

        def kernel_ns(self) -> np.ndarray:
            return np.array([1000, 2000 + (1_000_000 if self.calls % 5 == 0 else 0)])

    program = Interrupted()
    workload = SimpleNamespace(
        program=program, calls=[None], prepare=lambda call: None, run=lambda call: program.run()
    )
    kernels = tuple(SimpleNamespace(name=n, op="op", layer=n) for n in ("a", "b"))
    result = time_kernels(workload, kernels, seconds=0.05)  # type: ignore[arg-type]
    assert [row["time_ms"] for row in result["kernels"]] == [0.001, 0.002]
    assert result["ops"][0]["share"] == pytest.approx(1.0)
    assert result["total_ms"] == pytest.approx(0.003)
