"""A model folder of the family → `Model`, whole-sequence or streaming."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from millijoule.audio import frontend_from_manifest
from millijoule.converters.checkpoint import find_weights, load_weights, read_checkpoint
from millijoule.converters.importer import import_program
from millijoule.converters.lmuformer import build_module
from millijoule.converters.macs import count_macs
from millijoule.converters.model import Model, StreamingInfo
from millijoule.converters.ops import TensorType
from millijoule.converters.samples import random_candidates, robust_sample, spikes_of
from millijoule.converters.source import Folder, read_sample
from millijoule.converters.stream import StreamStep
from millijoule.errors import UnsupportedError
from millijoule.inputs.wav import read_wav

# Buffers that follow from the hyper-parameters; fft_H is never needed
DERIVED = frozenset({"A", "B", "H"})
FAMILY = "lmuformer"


def convert_folder(folder: Folder, streaming: bool, batch: int) -> Model:
    """Build the torch module, load the checkpoint, export the program and make a sample."""
    if streaming and folder.variant == "spiking-attention":
        raise UnsupportedError(
            "[streaming] variant spiking-attention attends over the whole sequence, so no step "
            "form exists; build it without --streaming, or use spiking-ms"
        )
    module = build_module(folder.variant, folder.hparams).eval()
    weights = find_weights(folder.path)
    ignored = load_weights(module, read_checkpoint(weights), weights.name, DERIVED)
    features, steps = _size(module)
    x = robust_sample(module, _candidates(folder, batch, steps, features))
    common: dict[str, Any] = {
        "name": folder.name,
        "family": FAMILY,
        "variant": folder.variant,
        "hparams": folder.hparams,
        "parameters": sum(p.numel() for p in module.parameters()),
        "source": str(folder.config.get("source", "")) or None,
        "ignored_keys": ignored,
        "labels": folder.config.get("labels"),
        "frontend": folder.config.get("frontend"),
        "reference_macs": _reference_macs(module),
        "tolerance": {"default": 2e-5, "logits": 1e-5, "all_seq_logits": 2e-5},
        "sample_inputs": {"x": x.numpy()},
    }
    return _streaming(module, x, common) if streaming else _sequence(module, x, common)


def _size(module: nn.Module) -> tuple[int, int]:
    return module.features, module.seq_len


def _candidates(folder: Folder, batch: int, steps: int, features: int) -> Iterable[Tensor]:
    """The recording that the config names as its sample, else (or then) random input."""
    if entry := folder.config.get("frontend"):
        front = frontend_from_manifest
        x = read_sample(folder, lambda data: front(entry)(*read_wav(data)), (steps, features))
        if x is not None:
            yield torch.from_numpy(x).repeat(batch, 1, 1)
    yield from random_candidates((batch, steps, features))


def _reference_macs(module: nn.Module) -> dict[str, int]:
    """MACs of one sequence. Counted step by step where a step form exists: it runs every layer."""
    features, steps = _size(module)
    if getattr(module, "variant", "") == "spiking-attention":
        return count_macs(module, lambda: module(torch.zeros(1, steps, features)))
    per_step = count_macs(module, lambda: StreamStep(module, _delay(module), 1, features))
    return {layer: macs * steps for layer, macs in per_step.items()}


def _delay(module: nn.Module) -> int:
    return module.delay


def _sequence(module: nn.Module, x: Tensor, common: dict[str, Any]) -> Model:
    logits, spikes = spikes_of(module, lambda m: m(x))
    program, layers = import_program(torch.export.export(module, (x,)))
    outputs = {"logits": logits.numpy()}
    outputs |= {f"spikes:{path}": s.numpy() for path, s in spikes.items()}
    return Model(
        module=program,
        layers=layers,
        inputs=(("x", TensorType(tuple(x.shape), "float32")),),
        outputs=(("logits", TensorType(tuple(logits.shape), "float32")),),
        sample_outputs=outputs,
        **common,
    )


def _streaming(module: nn.Module, x: Tensor, common: dict[str, Any]) -> Model:
    batch, _, features = x.shape
    step = StreamStep(module, _delay(module), batch, features)
    frame, valid = torch.zeros(batch, features), torch.ones(1, dtype=torch.int32)
    program, layers = import_program(
        torch.export.export(step, (frame, valid, *step.initial_states()))
    )
    with torch.no_grad():
        every = prefix_logits(module, x)
    return Model(
        module=program,
        layers=layers,
        inputs=(
            ("x", TensorType((batch, features), "float32")),
            ("valid", TensorType((1,), "int32")),
        ),
        outputs=(("logits", TensorType((batch, every.shape[-1]), "float32")),),
        states=tuple((s.name, TensorType(s.shape, s.dtype)) for s in step.states),
        streaming=StreamingInfo(_delay(module)),
        sample_outputs={"logits": every[-1], "all_seq_logits": every},
        **common,
    )


def prefix_logits(module: nn.Module, x: Tensor) -> np.ndarray:
    """What a stream must return, from the parallel form: [N, B, classes]."""
    frames = module.frame_logits(x, None)
    if getattr(module, "last_only", False):
        return frames.transpose(0, 1).numpy()
    count = torch.arange(1, x.shape[1] + 1, dtype=torch.float64)[None, :, None]
    return (frames.double().cumsum(1) / count).float().transpose(0, 1).contiguous().numpy()
