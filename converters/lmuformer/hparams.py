"""Hyper-parameters of the family, checked when they are read from a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millijoule.converters.hparams import check_variant, read_fields
from millijoule.errors import ModelError

VARIANTS = (
    "plain",
    "spiking-ms",
    "spiking",
    "spiking-attention",
    "psmnist-plain",
    "psmnist-spiking",
)


@dataclass(frozen=True)
class Hparams:
    """Speech Commands variants. ``memory_size`` defaults to dim (plain) or 2·dim (spiking)."""

    dim: int
    in_channels: int
    seq_len: int
    num_classes: int
    theta: float
    memory_size: int
    depth: int = 1
    num_heads: int = 1
    mlp_ratio: float = 4.0

    @property
    def hidden(self) -> int:
        """Width of the MLP."""
        return int(self.dim * self.mlp_ratio)


@dataclass(frozen=True)
class PixelHparams:
    """psMNIST variants (paper: hidden 346, memory 468, N = θ = 784)."""

    hidden_size: int
    memory_size: int
    seq_len: int
    theta: float
    num_classes: int = 10
    in_channels: int = 1


def read_hparams(variant: str, values: Mapping[str, Any]) -> Hparams | PixelHparams:
    """Hyper-parameters of ``variant``; unknown names are ignored, bad values raise ModelError."""
    check_variant(variant, VARIANTS)
    values = dict(values)
    values.setdefault("theta", values.get("seq_len"))
    if variant.startswith("psmnist"):
        return read_fields(PixelHparams, values)
    if "memory_size" not in values and isinstance(values.get("dim"), int):
        values["memory_size"] = values["dim"] * (1 if variant == "plain" else 2)
    hp = read_fields(Hparams, values)
    if variant == "spiking-attention" and hp.dim % hp.num_heads:
        raise ModelError(
            f"[config.json] dim must be a multiple of num_heads, "
            f"but dim is {hp.dim} and num_heads {hp.num_heads}"
        )
    return hp
