"""Saving a trained binary model small: weights as bits, the rest in half or single precision."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from millijoule.converters.binary.layers import Frozen
from millijoule.converters.binary.tensors import pack, unpack
from millijoule.converters.checkpoint import load_weights, read_checkpoint


def save_packed(model: nn.Module, path: Path) -> nn.Module:
    """Write ``model`` to ``path`` and return it as it loads from there: that is what to evaluate.

    Matrices of binary layers become a bit per weight and a scale per row (`tensors.pack`), larger
    tables float16, everything else stays float32.
    """
    binary = {f"{p}.weight" for p, m in model.named_modules() if isinstance(m, Frozen)}
    tensors: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        if key in binary:
            tensors |= {key + suffix: part for suffix, part in pack(value).items()}
        else:
            tensors[key] = value.half() if value.numel() > 4096 else value.clone()
    save_file({k: t.contiguous() for k, t in tensors.items()}, path)
    load_weights(model, unpack(read_checkpoint(path), path.name), path.name, frozenset())
    return model.eval()
