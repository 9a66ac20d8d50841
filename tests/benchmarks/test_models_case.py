"""The case `models`: contenders as processes, what is remembered, and what is left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mjbench import report
from mjbench.cases import models
from mjbench.onnx_plain import Graph
from mjbench.peers import OURS, PEERS, fastest, module_of
from mjbench.peers.process import PeerError, Worker, run_action
from mjbench.subjects import SUBJECTS, Subject, fingerprint
from torch import nn

ORT = "ONNX Runtime"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as ONNX Runtime's worker expects it; its expected output is right."""
    folder = tmp_path_factory.mktemp("subject")
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6)
    graph = Graph()
    graph.add("Relu", "x", out="y")
    (folder / "model.onnx").write_bytes(graph.model({"x": [2, 6]}, {"y": [2, 6]}))
    np.save(folder / "input.npy", x)
    np.save(folder / "expected.npy", np.maximum(x, 0))
    target = folder / "onnx_runtime"
    target.mkdir()
    (target / "chosen").write_text(str(folder / "model.onnx"))
    return target


def test_a_worker_computes_and_times_blocks(prepared: Path) -> None:
    worker = Worker(ORT, prepared, 1)
    try:
        wall, cpu = worker.block(calls=4, warmup=1)
        assert len(wall) == len(cpu) == 4
        assert all(0 < ns < 10**9 for ns in wall)
        assert len(worker.block(2, 0)[0]) == 2
    finally:
        worker.close()
    output, expected = (
        np.load(p) for p in (prepared / "output.npy", prepared.parent / "expected.npy")
    )
    np.testing.assert_allclose(output, expected, atol=1e-6)


def test_a_race_times_all_and_drops_what_computes_something_else(prepared: Path) -> None:
    found = models.Found()
    ready = {ORT: prepared, "torch eager": prepared}  # for the second, the files of the first
    models._race("small", prepared.parent, ready, 1, 2, found, lambda n: None)
    assert list(found.timings) == list(found.wall) == ["small, ONNX Runtime, 1 thread"]
    assert found.timings["small, ONNX Runtime, 1 thread"].ns.shape[0] == 2
    assert found.wall["small, ONNX Runtime, 1 thread"].ns.shape[0] == 2
    (missing,) = found.missing
    assert missing["contender"] == "torch eager"
    assert "subject" in missing["reason"]

    np.save(prepared.parent / "expected.npy", np.full((2, 6), 2, np.float32))
    models._race("small", prepared.parent, {ORT: prepared}, 1, 1, found, lambda n: None)
    assert "differs by" in found.missing[-1]["reason"]


def test_the_reason_is_the_last_thing_that_was_said(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="KeyError: 'no such model'"):
        run_action(tmp_path / "log", "prepare", ORT, str(tmp_path), "no such model")


def test_the_fastest_candidate_that_works_is_kept(tmp_path: Path) -> None:
    class Sleeper:
        def __init__(self, path: Path) -> None:
            self.turns = int(path.name)

        def run(self) -> None:
            sum(range(self.turns))

        def output(self) -> np.ndarray:
            return np.zeros(1)

    def broken() -> Path:
        raise RuntimeError("cannot convert")

    paths = [tmp_path / "900000", tmp_path / "9", tmp_path / "90000"]
    candidates = [broken, *(lambda path=path: path for path in paths)]
    assert fastest(candidates, Sleeper) == paths[1]
    with pytest.raises(RuntimeError, match="cannot convert"):
        fastest([broken], Sleeper)


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("ours, executor", False),
        ("torch eager", True),
        ("vit-tiny, ours, 1 thread", False),
        ("vit-tiny, ncnn, 2 threads", True),
        ("spike_linear dense", True),
    ],
)
def test_charts_know_whose_bar_it_is(name: str, peer: bool) -> None:
    assert report._is_peer(name) == peer


def test_failures_and_successes_are_remembered(tmp_path: Path) -> None:
    calls = []

    def fail(folder: Path) -> None:
        calls.append(folder)
        raise PeerError("no")

    for _ in range(2):
        with pytest.raises(PeerError, match="no"):
            models._once(tmp_path / "bad", fail)
        models._once(tmp_path / "good", calls.append)
    assert calls == [tmp_path / "bad", tmp_path / "good"]


def test_a_package_that_is_not_installed_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_of("ncnn"), "PACKAGES", ("no-such-package",))
    found = models.Found()
    assert models._available(["ncnn", OURS], found) == [OURS]
    assert found.missing == [
        {"model": "all", "contender": "ncnn", "reason": "package no-such-package is not installed"}
    ]


def test_every_peer_says_how_it_is_set_up_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mjbench.peers import PEERS, module_of\n"
        "peers = [module_of(name) for name in PEERS]\n"
        "assert all(p.SETUP and p.PACKAGES and p.prepare and p.load for p in peers)\n"
        "assert not {'torch', 'onnxruntime', 'openvino', 'ncnn', 'tvm'} & set(sys.modules)"
    )
    harness = Path(models.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=harness, check=True, timeout=60)
    assert OURS in PEERS


def test_subjects_are_the_same_every_time() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))

    (module, x), (again, y) = (Subject("small", make, "here").build() for _ in range(2))
    assert torch.equal(x, y)
    assert torch.equal(module(x), again(y))
    # statistics were taken, so the activations have the size that the norm promises
    assert abs(float(module(torch.randn(2, 3, 64, 64)).std()) - 1) < 0.1
    assert fingerprint() == fingerprint()
    assert set(models.QUICK) <= set(SUBJECTS)
