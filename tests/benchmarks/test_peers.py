"""Peers compute what the model computes, on a small model with awkward widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mjbench import models, onnx_plain, ort
from mjbench.checks import require_close
from mjbench.eager import ModuleStep, PlainSequence, SpikingStep

from millijoule.converters.lmuformer.convert import prefix_logits
from millijoule.converters.stream import StreamStep

HPARAMS = {
    "dim": 20,
    "mlp_ratio": 2,
    "in_channels": 7,
    "seq_len": 24,
    "theta": 24,
    "num_classes": 5,
}


def _module(variant: str, folder: Path) -> Any:
    return models.load_module(models.make_folder(variant, folder, HPARAMS))


def _frames() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((24, 7), np.float32)


def _prefixes(module: Any, frames: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return prefix_logits(module, torch.from_numpy(frames)[None])[:, 0]


def test_random_models_spike_at_the_rates_they_are_made_for(tmp_path: Path) -> None:
    module = _module("spiking-ms", tmp_path)
    rates = models.spike_rates(module, torch.randn(4, 24, 7))
    assert len(rates) == 11
    assert all(0.02 < rate < 0.4 for rate in rates.values())


def test_random_models_are_the_same_every_time(tmp_path: Path) -> None:
    folders = [models.make_folder("plain", tmp_path / name, HPARAMS) for name in "ab"]
    weights = [(folder / "weights.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]


def test_eager_steps_equal_the_sequence(tmp_path: Path) -> None:
    module, frames = _module("spiking-ms", tmp_path), _frames()
    expected = _prefixes(module, frames)
    step = StreamStep(module, 5, 1, module.features).eval()
    for peer in (SpikingStep(module), ModuleStep(step)):
        for _ in range(2):  # and again after a reset
            peer.reset()
            with torch.inference_mode():
                outputs = [peer.step(torch.from_numpy(f[None])) for f in frames][5:]
            logits = np.concatenate([y.numpy() for y in outputs if y is not None])
            require_close(type(peer).__name__, logits, expected[:-5])


def test_the_onnx_step_equals_the_sequence(tmp_path: Path) -> None:
    module, frames = _module("plain", tmp_path), _frames()
    peer = ort.Step(onnx_plain.step_model(module), onnx_plain.state_shapes(module), 7)
    for _ in range(2):
        peer.reset()
        logits = np.concatenate([peer.step(f[None]).copy() for f in frames])
        require_close("step", logits[5:], _prefixes(module, frames)[:-5])


@pytest.mark.parametrize("form", ["conv", "gemm"])
def test_onnx_sequences_equal_the_module(tmp_path: Path, form: str) -> None:
    module, frames = _module("plain", tmp_path), _frames()
    peer = ort.Sequence(onnx_plain.sequence_model(module, form), 1, frames)
    peer.run()
    with torch.inference_mode():
        require_close(form, peer.logits, module(torch.from_numpy(frames)[None]).numpy())


def test_the_eager_sequence_equals_the_module(tmp_path: Path) -> None:
    module, x = _module("plain", tmp_path), torch.from_numpy(_frames())[None]
    with torch.inference_mode():
        require_close("eager", PlainSequence(module)(x).numpy(), module(x).numpy())


def test_a_wrong_result_is_refused() -> None:
    right = np.ones((2, 3), np.float32)
    assert require_close("same", right, right) == 0
    with pytest.raises(RuntimeError, match=r"peer differs by 0\.01"):
        require_close("peer", right + np.float32(0.01), right)
    with pytest.raises(RuntimeError, match="shape"):
        require_close("peer", right[:1], right)
    with pytest.raises(RuntimeError, match="differs by nan"):
        require_close("peer", right * np.float32(np.nan), right)
