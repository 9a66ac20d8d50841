"""LMUFormer and its spiking forms (arXiv 2402.04882)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from millijoule.converters.lmuformer.hparams import VARIANTS, Hparams, read_hparams
from millijoule.converters.lmuformer.model import LmuFormer, PixelPlain, PixelSpiking
from millijoule.converters.stream import name_states

__all__ = ["VARIANTS", "build_module", "read_hparams"]


def build_module(variant: str, hparams: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised torch module of the family.

    ``forward(x [B, seq_len, F]) -> logits [B, classes]``; its state_dict has the authors' keys.
    Raises ModelError for an unknown variant or bad hyper-parameters.
    """
    hp = read_hparams(variant, hparams)
    module: nn.Module
    if isinstance(hp, Hparams):
        module = LmuFormer(variant, hp)
    elif variant == "psmnist-plain":
        module = PixelPlain(hp)
    else:
        module = PixelSpiking(hp)
    name_states(module)
    return module
