"""The models of the benchmark: paper-size folders made from a seed, and bundles built from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import millijoule as mj
from millijoule.converters import convert
from millijoule.converters.checkpoint import find_weights, load_weights, read_checkpoint
from millijoule.converters.lmuformer import build_module
from millijoule.converters.lmuformer.convert import DERIVED
from millijoule.converters.lmuformer.layers import BatchNorm, Lif
from millijoule.converters.samples import spikes_of
from millijoule.converters.source import read_folder
from millijoule.targets import build

SEED = 20240207
PAPER_HPARAMS: dict[str, Any] = {
    "dim": 256,
    "depth": 1,
    "num_heads": 16,
    "mlp_ratio": 4,
    "in_channels": 128,
    "seq_len": 128,
    "theta": 128,
    "num_classes": 35,
}
# Share of neurons that fire per step. The authors' trained model lies between 8 and 33 %.
RATES = {"block.0.attn.prev_lif": 0.25, "block.0.attn.lmu.f_u": 0.10}
DEFAULT_RATE = 0.13
CALIBRATION_SEQUENCES = 8


def make_folder(variant: str, folder: Path, hparams: Mapping[str, Any] = PAPER_HPARAMS) -> Path:
    """Write a model folder with random weights, paper-size by default; the same every time.

    Batch norms are calibrated on random input, so that activations are of unit variance and spikes
    come at the rates above.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        module = build_module(variant, hparams).eval()
        x = torch.randn(CALIBRATION_SEQUENCES, hparams["seq_len"], hparams["in_channels"])
    _calibrate(module, x)
    save_file(
        {k: v.contiguous() for k, v in module.state_dict().items()}, folder / "weights.safetensors"
    )
    config = {
        "name": f"lmuformer-{variant}-random",
        "family": "lmuformer",
        "variant": variant,
        "hparams": dict(hparams),
        "source": f"benchmarks, random weights, seed {SEED}",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    return folder


def _calibrate(module: nn.Module, x: Tensor) -> None:
    """One forward pass; every batch norm takes its statistics from what it is given.

    Hooks run in the order of execution, so each layer sees the calibrated output of the one before.
    """
    handles = []
    for path, layer in module.named_modules():
        if isinstance(layer, Lif):
            rate = RATES.get(path, DEFAULT_RATE)
            handles.append(
                layer.register_forward_pre_hook(
                    lambda lif, args, rate=rate: _calibrate_lif(lif, args, rate)
                )
            )
        elif isinstance(layer, BatchNorm):
            handles.append(
                layer.register_forward_pre_hook(lambda bn, args: _take_statistics(bn, args[0]))
            )
    with torch.no_grad():
        module(x)
    for handle in handles:
        handle.remove()


def _take_statistics(bn: BatchNorm, x: Tensor) -> None:
    flat = x.flatten(0, 1)
    mean, variance = bn.running_mean, bn.running_var
    assert mean is not None  # batch norms of the family track statistics; tells the type checker
    assert variance is not None
    mean.copy_(flat.mean(0))
    variance.copy_(flat.var(0).clamp(min=1e-4))


def _calibrate_lif(lif: Lif, args: tuple[Any, ...], rate: float) -> None:
    """Find the shift of the batch norm at which ``rate`` of the neurons fire."""
    x, bn = args[0], args[1] if len(args) > 1 else None
    if bn is None:
        return
    _take_statistics(bn, x)
    low, high = -4.0, 4.0
    for _ in range(12):
        middle = (low + high) / 2
        bn.bias.fill_(middle)
        fired = float(lif.forward(x, bn).float().mean())
        low, high = (middle, high) if fired < rate else (low, middle)


def load_module(folder: Path) -> nn.Module:
    """The torch module of a model folder, in eval mode."""
    read = read_folder(folder)
    module = build_module(read.variant, read.hparams).eval()
    weights = find_weights(folder)
    load_weights(module, read_checkpoint(weights), weights.name, DERIVED)
    return module.requires_grad_(False)


def spike_rates(module: nn.Module, x: Tensor) -> dict[str, float]:
    """Share of ones per layer of spikes when ``module`` runs ``x [B, N, F]``."""
    _, spikes = spikes_of(module, lambda m: m(x))
    return {path: float(s.float().mean()) for path, s in spikes.items()}


def build_bundle(folder: Path, out: Path, *, streaming: bool) -> Path:
    """Convert and build for this machine; returns the bundle's path."""
    build(convert(folder, streaming=streaming), "host", out).close()
    return out


def load(bundle: Path, threads: int = 1) -> mj.Session:
    """A session of a bundle."""
    return mj.load(bundle, threads=threads)
