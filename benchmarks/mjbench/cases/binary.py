"""Binary layers and a whole binary BERT against the same in float32 and 8 bits, one thread.

Peers have no binary layers: theirs are dense ones of the same shape, as fast as each can make
them. The network is BiBERT at BERT-base's size and 128 tokens with random weights; peers run
BERT-base in float32 and in 8 bits. Everything is timed by the CPU time of the process, whichever of
its threads works.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from millijoule import Session
from millijoule.converters.binary import build_module
from millijoule.converters.binary.layers import freeze
from millijoule.converters.importer import import_program
from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType, binarize, binary_linear
from millijoule.executors import aligned_empty
from millijoule.targets import build
from mjbench import models, subjects
from mjbench.checks import require_close
from mjbench.measure import Contender, Ratio, interleave, ratio, timed
from mjbench.peers import int8
from mjbench.peers.process import run_action
from mjbench.result import CaseResult, Goal, Settings

TOKENS = 128
BASE: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "seq_len": TOKENS,
}
LAYERS = ((768, 768), (768, 3072))  # inputs, outputs
SIGNS, REAL, FLOAT = "ours, signs", "ours, real × signs", "ours, float32"
ORT, DYNAMIC, STATIC, TORCH = "ONNX Runtime", "ONNX Runtime int8", "OpenVINO int8", "torch eager"
BERT, NET = "BERT-base: ", "ours, BiBERT"
LARGEST_FILE = 15.6 * 2**20
OVER_FLOAT, OVER_INT8 = 8.0, 1.5


class _Binary(nn.Module):
    def __init__(self, inputs: int, outputs: int, activations: str) -> None:
        super().__init__()
        w, alpha = binarize(torch.randn(outputs, inputs))
        self.register_buffer("w", w)
        self.register_buffer("alpha", alpha)
        self.bias, self.activations = nn.Parameter(torch.randn(outputs)), activations

    def forward(self, x: Tensor) -> Tensor:
        return binary_linear(x, self.w, self.alpha, self.bias, activations=self.activations)


@dataclass(frozen=True)
class _Network:
    """Contenders of the whole network, our session of it, and the size of its file in bytes."""

    runs: dict[str, Callable[[], object]]
    session: Session
    size: int


def run_binary(settings: Settings) -> CaseResult:
    """Time layers, and the network unless ``--models`` or ``--quick`` leaves BERT-base out."""
    torch.manual_seed(11)
    folder = settings.cache / "binary"
    folder.mkdir(parents=True, exist_ok=True)
    runs: dict[str, Callable[[], object]] = {}
    groups = [(f"{TOKENS}×{inputs}×{outputs}: ", SIGNS) for inputs, outputs in LAYERS]
    for inputs, outputs in LAYERS:
        runs |= _layer(inputs, outputs, folder, settings.work)
    network = _network(folder, settings.work) if "bert-base" in settings.models else None
    if network is not None:
        runs |= network.runs
        groups.append((BERT, NET))
    contenders = [_contender(name, run) for name, run in runs.items()]
    timings = interleave(
        contenders, settings.rounds, lambda n: settings.progress(n, settings.rounds)
    )
    ratios = [
        ratio(timing, timings[group + first])
        for group, first in groups
        for name, timing in timings.items()
        if name.startswith(group) and name != group + first
    ]
    rows = {} if network is None else _kernels(network.session)
    goals = [] if network is None else _goals(ratios, network.size)
    if network is not None:
        network.session.close()
    return CaseResult(
        name="binary",
        title=f"Binary layers and BERT-base, {TOKENS} tokens, 1 thread",
        timings=timings,
        ratios=ratios,
        goals=goals,
        notes=[
            "CPU time of the process",
            *(["left out: BERT-base and BiBERT, not among --models"] if network is None else []),
            *(f"kernels of BiBERT, µs: {name} {value:,.0f}" for name, value in rows.items()),
        ],
        extra={"file_bytes": network and network.size, "kernels_us": rows},
    )


def _goals(ratios: Sequence[Ratio], size: int) -> list[Goal]:
    times = {r.slower: r.value for r in ratios if r.faster == BERT + NET}
    best = min(times[BERT + name] for name in (DYNAMIC, STATIC))
    return [
        Goal("bytes of the BiBERT file", size, LARGEST_FILE, at_most=True),
        Goal("ONNX Runtime float32 / BiBERT", times[BERT + ORT], OVER_FLOAT),
        Goal("the best 8-bit peer / BiBERT", best, OVER_INT8),
    ]


def _contender(name: str, run: Callable[[], object]) -> Contender:
    calls = 3 if name.startswith("BERT") else 20
    return Contender(name, lambda: timed(run, calls, 2, time.process_time_ns))


def _layer(inputs: int, outputs: int, folder: Path, work: Path) -> dict[str, Callable[[], object]]:
    """Contenders of one layer."""
    group = f"{TOKENS}×{inputs}×{outputs}: "
    x = aligned_empty((TOKENS, inputs), "float32")
    x[...] = np.random.default_rng(0).standard_normal(x.shape, np.float32)
    dense = nn.Linear(inputs, outputs).eval()
    modules = {
        SIGNS: _Binary(inputs, outputs, "sign"),
        REAL: _Binary(inputs, outputs, "real"),
        FLOAT: dense,
    }
    runs: dict[str, Callable[[], object]] = {}
    for index, (name, module) in enumerate(modules.items()):
        model = _model(f"layer{index}", module.eval(), {"x": torch.from_numpy(x)})
        session = _build(model, work / f"{inputs}-{outputs}-{index}.mjb")
        runs[group + name] = _program(session, [x])
        y = session.run({"x": x})["y"]
        require_close(group + name, y, model.sample_outputs["y"])
    path = folder / f"linear-{inputs}-{outputs}.onnx"
    if not path.exists():
        torch.onnx.export(dense, (torch.from_numpy(x),), str(path), input_names=["x"])
    return runs | _peers(group, path, {"x": x}, dense, torch.from_numpy(x), folder / path.stem)


def _network(folder: Path, work: Path) -> _Network:
    module = build_module("bibert", "classification", BASE)
    for p in module.parameters():
        if p.dim() == 1:  # biases and norms
            p.data += 0.1 * torch.randn_like(p)
    freeze(module.eval())
    rng = np.random.default_rng(1)
    ids = torch.from_numpy(rng.integers(1000, 20000, (1, TOKENS)))
    sample = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    path = work / "bibert.mjb"
    session = _build(_model("bibert", module, sample), path)
    reference = folder / "bert-base"
    if not (reference / "done").exists():
        reference.mkdir(exist_ok=True)
        run_action(reference / "log", "reference", "bert-base", str(reference))
        (reference / "done").touch()
    bert, x = subjects.SUBJECTS["bert-base"].build()
    onnx_path = reference / "model.onnx"
    inputs = {_input_name(onnx_path): x.numpy()}
    runs = {BERT + NET: _program(session, [t.numpy() for t in sample.values()])}
    runs |= _peers(BERT, onnx_path, inputs, bert, x, reference)
    return _Network(runs, session, path.stat().st_size)


def _input_name(path: Path) -> str:
    import onnx

    return str(onnx.load(str(path), load_external_data=False).graph.input[0].name)


def _peers(
    group: str,
    path: Path,
    inputs: dict[str, np.ndarray],
    module: nn.Module,
    x: Tensor,
    folder: Path,
) -> dict[str, Callable[[], object]]:
    """Dense peers of a float module, which ``path`` holds as ONNX."""
    folder.mkdir(exist_ok=True)
    kind, dynamic = int8.best_dynamic(path, folder, inputs)
    print(f"{group}{DYNAMIC}: {kind} weights are faster")

    def eager() -> None:
        with torch.inference_mode():
            module(x)

    return {
        group + ORT: int8.onnx_runtime(path, inputs),
        group + DYNAMIC: dynamic,
        group + STATIC: int8.openvino(int8.static_model(path, folder, inputs), inputs),
        group + TORCH: eager,
    }


def _model(name: str, module: nn.Module, inputs: dict[str, Tensor]) -> Model:
    """``module`` as a model with its outputs on ``inputs``."""
    program, layers = import_program(torch.export.export(module, tuple(inputs.values())))
    with torch.no_grad():
        results = module(*inputs.values())
    named = results if isinstance(results, dict) else {"y": results}
    return Model(
        name=name,
        module=program,
        layers=layers,
        inputs=tuple((n, _type(t)) for n, t in inputs.items()),
        outputs=tuple((n, _type(t)) for n, t in named.items()),
        sample_inputs={n: t.numpy() for n, t in inputs.items()},
        sample_outputs={n: t.numpy() for n, t in named.items()},
    )


def _type(t: Tensor) -> TensorType:
    return TensorType(tuple(t.shape), str(t.dtype).removeprefix("torch."))


def _build(model: Model, out: Path) -> Session:
    build(model, "host", out).close()
    return models.load(out)


def _program(session: Session, inputs: Sequence[np.ndarray]) -> Callable[[], object]:
    """One run of the program on bound buffers."""
    bound = [aligned_empty(x.shape, x.dtype) for x in inputs]
    for buffer, x in zip(bound, inputs, strict=True):
        buffer[...] = x
    out = [aligned_empty(s.shape, s.dtype) for s in session.outputs]
    return lambda: session.program.run(bound, out)


def _kernels(session: Session, runs: int = 20) -> dict[str, float]:
    """Median µs of all kernels of an operator."""
    program = session.program
    inputs = [aligned_empty(s.shape, s.dtype) for s in session.inputs]
    for x in inputs:
        x[...] = 1
    out = [aligned_empty(s.shape, s.dtype) for s in session.outputs]
    program.kernel_times(True)
    times = []
    for _ in range(runs):
        program.clear_kernel_ns()
        program.run(inputs, out)
        times.append(program.kernel_ns().copy())
    totals: dict[str, float] = {}
    for kernel, ns in zip(session.manifest.kernels, np.median(times, axis=0), strict=True):
        totals[kernel.op] = totals.get(kernel.op, 0.0) + float(ns) / 1e3
    return dict(sorted(totals.items(), key=lambda item: -item[1])[:6])
