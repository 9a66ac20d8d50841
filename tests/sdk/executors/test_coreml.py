"""Core ML's executor with a stand-in for Core ML: states that it keeps, and where operators run.

The stand-in calculates the saved package by our evaluator. It shows what the executor hands to
Core ML and reads from it, and nothing of Core ML itself.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import coremltools as ct
import numpy as np
import pytest

import millijoule as mj
from fixtures.models import LMUFORMER, build
from millijoule.cli import main
from millijoule.executors.mil import coreml
from millijoule.executors.mil.evaluator import MilEvaluator
from millijoule.executors.mil.functions import Held


class StandIn:
    """``MLModel``: predictions by the evaluator, states in its own hands."""

    bundle: Path
    states_made = 0

    def __init__(self, path: str, compute_units: Any) -> None:
        assert Path(path, "Manifest.json").is_file()
        assert compute_units is ct.ComputeUnit.ALL
        with mj.Bundle.open(self.bundle) as bundle:
            self._evaluator = MilEvaluator(bundle, 1)

    def make_state(self) -> dict[str, Held]:
        """A state of zeros."""
        type(self).states_made += 1
        kept = self._evaluator.kept()
        return {name: Held(np.zeros(shape, np.float16)) for name, shape in kept.items()}

    def predict(self, data: dict[str, np.ndarray], **kept: Any) -> dict[str, np.ndarray]:
        """One prediction."""
        assert all(x.dtype in (np.float32, np.int32) for x in data.values())
        assert bool(kept) == bool(self._evaluator.kept())
        self._evaluator._held = kept.get("state", {})
        return dict(self._evaluator.infer(data))

    def get_compiled_model_path(self) -> str:
        """Where Core ML compiled it to."""
        return "compiled.mlmodelc"


class MLNeuralEngineComputeDevice:
    """Named as coremltools names it."""


class MLCPUComputeDevice:
    """Named as coremltools names it."""


class Plan:
    """``MLComputePlan`` of a program of a loop with one operator in it, and a constant."""

    @classmethod
    def load_from_path(cls, path: str, compute_units: Any) -> Plan:
        """The only one there is."""
        assert path == "compiled.mlmodelc"
        return cls()

    @property
    def model_structure(self) -> Any:
        """Functions, blocks, operators."""

        def operation(name: str, output: str, *blocks: Any) -> Any:
            outputs = [SimpleNamespace(name=output)]
            return SimpleNamespace(operator_name=name, outputs=outputs, blocks=list(blocks))

        inner = SimpleNamespace(operations=[operation("ios18.tanh", "k3_mlp_tanh_7")])
        block = SimpleNamespace(
            operations=[operation("const", "c"), operation("ios18.while_loop", "w", inner)]
        )
        main_ = SimpleNamespace(block=block)
        return SimpleNamespace(program=SimpleNamespace(functions={"main": main_}))

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
        """The Neural Engine for what is in the loop; nobody says for the loop."""
        if operation.operator_name != "ios18.tanh":
            return None
        engine, cpu = MLNeuralEngineComputeDevice(), MLCPUComputeDevice()
        return SimpleNamespace(
            preferred_compute_device=engine, supported_compute_devices=[cpu, engine]
        )

    def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> Any:
        """A quarter of the time each."""
        return None if operation.operator_name == "const" else SimpleNamespace(weight=0.25)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("coreml")
    found = {}
    for target in ("coreml", "coreml-ios17"):
        found[target] = folder / f"{target}.mjb"
        build(LMUFORMER[0].path, found[target], "--target", target, "--dtype", "float16",
              "--streaming")  # fmt: skip
    return found


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    monkeypatch.setattr(coreml.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(ct.models, "MLModel", StandIn)
    monkeypatch.setattr(ct.models.compute_plan, "MLComputePlan", Plan)
    StandIn.states_made = 0
    return StandIn


@pytest.mark.parametrize("target", ["coreml", "coreml-ios17"])
def test_streams(target: str, bundles: dict[str, Path], mac: type[StandIn]) -> None:
    """States of iOS 18 are Core ML's, counters and all of iOS 17 are handed over; both verify."""
    mac.bundle = bundles[target]
    assert main(["verify", str(bundles[target]), "--quiet"]) == 0
    assert (mac.states_made > 1) == (target == "coreml")
    with mj.Bundle.open(bundles[target]) as bundle:
        graph = bundle.manifest.graph
        assert graph is not None
        assert graph.version == {"coreml": "iOS18", "coreml-ios17": "iOS17"}[target]
        assert any(s.input == s.output for s in graph.states) == (target == "coreml")
        assert any(s.input != s.output for s in graph.states)


def test_kept_and_explicit_states_give_the_same_bits(bundles: dict[str, Path]) -> None:
    """Also after a reset."""
    results = []
    for path in bundles.values():
        with mj.load(path, device="mil-evaluator") as session:
            x = session.bundle.samples()[0]
            results += [session.run(x), session.run(x)]
    for name in results[0]:
        for other in results[1:]:
            np.testing.assert_array_equal(results[0][name], other[name])


def test_placement(
    bundles: dict[str, Path], mac: type[StandIn], capsys: pytest.CaptureFixture[str]
) -> None:
    mac.bundle = bundles["coreml"]
    with mj.load(bundles["coreml"]) as session:
        loop, inside = session.program.placement()
    assert (loop.device, loop.kernel, loop.weight) == ("", None, 0.25)
    assert (inside.device, inside.kernel) == ("Neural Engine", 3)
    assert inside.supported == ("CPU", "Neural Engine")
    assert main(["inspect", str(bundles["coreml"]), "--placement"]) == 0
    assert "Neural Engine" in capsys.readouterr().out


def test_placement_wants_core_ml(tiny_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tiny_path), "--placement"]) == 2
    assert "target coreml" in capsys.readouterr().err
