"""Checkpoints of binary models: weights stored as bits, and tied weights stored once.

A weight matrix may be stored as ``<key>.bits`` (uint8 [rows, ⌈columns/8⌉], little bit order, 1 for
+1), ``<key>.alpha`` ([rows]) and ``<key>.columns`` (int): 32 times smaller. It stands for
W = α·sign, of which the layers' rule makes the same signs and scales again: sign(W − mean W) =
sign(W) for rows of ±α that are not all alike, and mean |W| = α.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from millijoule.errors import ModelError

BITS, ALPHA, COLUMNS = ".bits", ".alpha", ".columns"
_DECODER = "cls.predictions.decoder"
# key that a checkpoint may leave out → the one that it is tied to
_TIED = {
    f"{_DECODER}.weight": "bert.embeddings.word_embeddings.weight",
    f"{_DECODER}.bias": "cls.predictions.bias",
}


def pack(weight: Tensor) -> dict[str, Tensor]:
    """``.bits``, ``.alpha`` and ``.columns`` of real weights [rows, columns], by suffix.

    ValueError where a weight equals its row's mean: its sign is 0, which takes more than a bit.
    """
    signs = torch.sign(weight - weight.mean(1, keepdim=True))
    if not bool(signs.all()):
        raise ValueError("a weight equals its row's mean, so its sign is no bit")
    bits = np.packbits(signs.numpy() > 0, axis=1, bitorder="little")
    return {
        BITS: torch.from_numpy(bits),
        ALPHA: weight.abs().mean(1),
        COLUMNS: torch.tensor(weight.shape[1]),
    }


def unpack(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """``tensors`` with packed matrices unfolded; ModelError for parts that do not fit together."""
    plain = {k: v for k, v in tensors.items() if not k.endswith((BITS, ALPHA, COLUMNS))}
    for key in (k.removesuffix(BITS) for k in tensors if k.endswith(BITS)):
        parts = [tensors.get(key + suffix) for suffix in (BITS, ALPHA, COLUMNS)]
        plain[key] = _unfold(f"[{where}] {key}", *parts)
    return plain


def _unfold(
    where: str, bits: Tensor | None, alpha: Tensor | None, columns: Tensor | None
) -> Tensor:
    if bits is None or alpha is None or columns is None or columns.numel() != 1:
        raise ModelError(f"{where} must have {BITS}, {ALPHA} and {COLUMNS}")
    count = int(columns)
    fits = bits.dim() == 2 and bits.dtype == torch.uint8 and bits.shape[1] == -(-count // 8)
    if not fits or alpha.shape != bits.shape[:1]:
        raise ModelError(
            f"{where} is packed in {list(bits.shape)} bytes and {list(alpha.shape)} scales, which "
            f"do not fit {count} columns"
        )
    signs = np.unpackbits(bits.numpy(), axis=1, count=count, bitorder="little")
    return (torch.from_numpy(signs).float() * 2 - 1) * alpha[:, None]


def complete(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` with tied weights that were saved once, where a checkpoint has their head."""
    if any(key.startswith("cls.predictions.") for key in tensors):
        for key, source in _TIED.items():
            if key not in tensors and source in tensors:
                tensors[key] = tensors[source]
    return tensors
