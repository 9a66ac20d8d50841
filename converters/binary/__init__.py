"""Binary transformers: BiBERT (arXiv 2203.06390), BiPFT (AAAI 2024), BiViT (arXiv 2211.07091)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from millijoule.converters.binary.bert import BiBert, BiPftClassifier, BiPftPretraining
from millijoule.converters.binary.bivit import BiVit, BiVitModules
from millijoule.converters.binary.hparams import (
    VARIANTS,
    ModulesHparams,
    read_bert,
    read_modules,
    read_vit,
)
from millijoule.converters.hparams import check_variant

__all__ = ["VARIANTS", "build_module"]


def build_module(
    family: str, variant: str, hparams: Mapping[str, Any], keys: frozenset[str] = frozenset()
) -> nn.Module:
    """A freshly initialised torch module; its state_dict has the authors' keys.

    ``keys``: names in the checkpoint; they say which modules of BiViT it holds and which of their
    layers learn a scale. Raises ModelError for an unknown variant or bad hyper-parameters.
    """
    check_variant(variant, VARIANTS[family])
    if family == "bibert":
        return BiBert(read_bert(family, hparams))
    if family == "bipft":
        kind = BiPftPretraining if variant == "pretraining" else BiPftClassifier
        return kind(read_bert(family, hparams))
    if variant == "modules":
        hp: ModulesHparams = read_modules(hparams)
        return BiVitModules(hp, keys)
    return BiVit(read_vit(hparams))
