"""Hyper-parameters of the binary families, checked when they are read from a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millijoule.converters.hparams import read_fields
from millijoule.errors import ModelError, UnsupportedError

VARIANTS: dict[str, tuple[str, ...]] = {
    "bibert": ("classification",),
    "bipft": ("pretraining", "classification"),
    "bivit": ("modules", "vit"),
}
# The quantization that a checkpoint must have been trained with: name → what it must say, if it
# says anything. Other settings of the authors' code are other models.
_QUANTIZATION: dict[str, dict[str, Any]] = {
    "bibert": {"quantize_act": True, "weight_bits": 1, "embedding_bits": 1, "input_bits": 1},
    "bipft": {
        "weight_bits": 1,
        "input_bits": 1,
        "weight_quant_method": "bwn",
        "input_quant_method": "elastic",
        "embed_layerwise": False,
        "weight_layerwise": True,
        "input_layerwise": True,
        "not_quantize_attention": False,
        "half_binary": False,
        "improve_linear": False,
        "improve_kqv": True,
        "lora_rank": 1,
    },
}


@dataclass(frozen=True)
class BertHparams:
    """``seq_len``: tokens of a built program (default: the sample inputs' or all positions).

    ``hidden_act``: behind the dense layer of BiPFT's masked-language head; the layers have GELU.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    num_labels: int = 2
    hidden_act: str = "gelu"
    seq_len: int | None = None


@dataclass(frozen=True)
class ModulesHparams:
    """BiViT's modules on their own. ``seq_len``: tokens (default: the sample inputs')."""

    dim: int
    num_heads: int
    mlp_hidden: int
    seq_len: int | None = None


@dataclass(frozen=True)
class VitHparams:
    """A whole vision transformer (defaults: DeiT-tiny).

    ``attention``: "threshold" (softmax-aware) or "bool". ``learned_scales``: every binary layer
    learns its scale instead of taking mean |W|.
    """

    img_size: int = 224
    patch_size: int = 16
    in_chans: int = 3
    num_classes: int = 1000
    embed_dim: int = 192
    depth: int = 12
    num_heads: int = 3
    mlp_ratio: float = 4.0
    attention: str = "threshold"
    learned_scales: bool = False

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return (self.img_size // self.patch_size) ** 2 + 1


def _whole_heads(width: str, size: int, heads: int) -> None:
    if size % heads:
        raise ModelError(
            f"[config.json] hparams.{width} must be a multiple of the number of heads, "
            f"but they are {size} and {heads}"
        )


def read_bert(family: str, values: Mapping[str, Any]) -> BertHparams:
    """Hyper-parameters of BiBERT or BiPFT; UnsupportedError for another kind of quantization."""
    for name, wanted in _QUANTIZATION[family].items():
        if values.get(name, wanted) != wanted:
            raise UnsupportedError(
                f"[config.json] hparams.{name} must be {wanted!r}, but is {values[name]!r}; "
                f"only the 1-bit form of {family} is supported"
            )
    hp = read_fields(BertHparams, values)
    acts = ("gelu", "relu") if family == "bipft" else ("gelu",)
    if hp.hidden_act not in acts:
        raise UnsupportedError(
            f"[config.json] hparams.hidden_act must be one of {', '.join(acts)}, "
            f"but is {hp.hidden_act!r}"
        )
    _whole_heads("hidden_size", hp.hidden_size, hp.num_attention_heads)
    if hp.seq_len is not None and hp.seq_len > hp.max_position_embeddings:
        raise ModelError(
            f"[config.json] hparams.seq_len must be at most max_position_embeddings "
            f"({hp.max_position_embeddings}), but is {hp.seq_len}"
        )
    return hp


def read_modules(values: Mapping[str, Any]) -> ModulesHparams:
    """Hyper-parameters of BiViT's modules."""
    hp = read_fields(ModulesHparams, values)
    _whole_heads("dim", hp.dim, hp.num_heads)
    return hp


def read_vit(values: Mapping[str, Any]) -> VitHparams:
    """Hyper-parameters of a BiViT."""
    hp = read_fields(VitHparams, values)
    _whole_heads("embed_dim", hp.embed_dim, hp.num_heads)
    if hp.img_size % hp.patch_size:
        raise ModelError(
            f"[config.json] hparams.img_size must be a multiple of patch_size, "
            f"but they are {hp.img_size} and {hp.patch_size}"
        )
    if hp.attention not in ("bool", "threshold"):
        raise ModelError(
            f"[config.json] hparams.attention must be 'threshold' or 'bool', "
            f"but is {hp.attention!r}"
        )
    return hp
