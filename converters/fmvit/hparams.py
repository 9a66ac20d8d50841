"""Hyper-parameters of the family: five documented variants, and ``custom`` for one's own sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from millijoule.errors import ModelError

OUTPUTS = ("classes", "pyramid")
IMAGE_STEP = 32  # the last stage works at a 32nd of the image's side
_LARGEST = 1 << 16


@dataclass(frozen=True)
class Hparams:
    """The architecture; tuples named "by stage" have four entries.

    Attributes:
        stem: output channels of the first three convolutions; the fourth keeps the third's.
        widths: channels of the convolution blocks, by stage.
        mixing_widths: channels of the mixing blocks, by stage.
        depths: blocks, by stage.
        mixing: every how many blocks one mixes, by stage; 0 for none.
        mlp_ratio: hidden width of a convolution block's MLP over its channels.
        mixing_mlp_ratio: the same for mixing blocks.
        mix: share of a mixing block's channels that attention computes (`attention_width`).
        head_dim: channels per attention head.
        pooling: side of the average pooling of keys and values, by stage.
        branches: channels per group of each k×k branch while training; deployed, a group has as
            many channels as their least common multiple.
        num_classes: classes of the head.
        image_size: height and width in pixels, a multiple of 32.
        in_channels: channels of the image, 1 or 3.
        outputs: "classes" (logits), or "pyramid" (the features of the four stages).
    """

    stem: tuple[int, ...]
    widths: tuple[int, ...]
    mixing_widths: tuple[int, ...]
    depths: tuple[int, ...]
    mixing: tuple[int, ...]
    mlp_ratio: float = 3.0
    mixing_mlp_ratio: float = 2.0
    mix: float = 0.75
    head_dim: int = 32
    pooling: tuple[int, ...] = (8, 4, 2, 1)
    branches: tuple[int, ...] = (32, 16)
    num_classes: int = 1000
    image_size: int = 224
    in_channels: int = 3
    outputs: str = "classes"

    def mixes(self, stage: int, block: int) -> bool:
        """Whether block ``block`` of ``stage``, both from 0, is a mixing block."""
        every = self.mixing[stage]
        return every > 0 and block % every == every - 1

    def attention_width(self, width: int) -> int:
        """Channels of ``width`` that attention computes: ``mix`` of them, in whole heads.

        Rounded to the nearest multiple of ``head_dim``, and up if that lost more than a tenth.
        """
        wanted = self.mix * width
        rounded = max(self.head_dim, int(wanted / self.head_dim + 0.5) * self.head_dim)
        return rounded + self.head_dim if rounded < 0.9 * wanted else rounded


VARIANTS: dict[str, dict[str, Any]] = {
    # No sizes with 32 channels per head and group meet the record of T; these have 16.
    "t": {
        "stem": (16, 8, 16),
        "widths": (32, 48, 160, 224),
        "mixing_widths": (48, 64, 208, 288),
        "depths": (1, 2, 4, 2),
        "mixing": (0, 2, 4, 2),
        "mlp_ratio": 2.0,
        "head_dim": 16,
        "branches": (16, 8),
    },
    "s": {
        "stem": (32, 16, 32),
        "widths": (32, 96, 160, 512),
        "mixing_widths": (32, 128, 224, 672),
        "depths": (2, 2, 4, 2),
        "mixing": (0, 2, 4, 2),
        "mlp_ratio": 2.0,
    },
    "m": {
        "stem": (32, 16, 32),
        "widths": (64, 192, 224, 768),
        "mixing_widths": (64, 192, 224, 768),
        "depths": (2, 3, 5, 2),
        "mixing": (0, 3, 5, 2),
    },
    "b": {
        "stem": (64, 32, 64),
        "widths": (96, 160, 256, 768),
        "mixing_widths": (96, 224, 352, 1024),
        "depths": (3, 4, 10, 3),
        "mixing": (0, 4, 5, 3),
    },
    "l": {
        "stem": (64, 32, 64),
        "widths": (64, 160, 384, 512),
        "mixing_widths": (64, 224, 512, 672),
        "depths": (3, 4, 20, 3),
        "mixing": (0, 4, 5, 3),
    },
    "custom": {},
}

_LENGTHS = {"stem": 3, "branches": None}


def read_hparams(variant: str, values: Mapping[str, Any]) -> Hparams:
    """Hyper-parameters of ``variant`` with those in ``values`` in their stead; others are ignored.

    Raises ModelError naming the field for an unknown variant, a missing or a bad value.
    """
    if variant not in VARIANTS:
        raise ModelError(
            f"[config.json] variant must be one of {', '.join(VARIANTS)}, but is {variant!r}"
        )
    chosen = dict(VARIANTS[variant])
    for field in fields(Hparams):
        if values.get(field.name) is not None:
            chosen[field.name] = _checked(field.name, str(field.type), values[field.name])
    required = ("stem", "widths", "mixing_widths", "depths", "mixing")
    for name in required:
        if name not in chosen:
            raise ModelError(f"[config.json] hparams.{name} is missing; variant custom needs it")
    hp = Hparams(**chosen)
    _check(hp)
    return hp


def _checked(name: str, kind: str, value: Any) -> Any:
    """``value`` as the type of the field, or a ModelError."""
    if name == "outputs":
        if value not in OUTPUTS:
            raise _bad(name, f"one of {', '.join(OUTPUTS)}", value)
        return value
    if kind.startswith("tuple"):
        length = _LENGTHS.get(name, 4)
        least = 0 if name == "mixing" else 1
        whole = isinstance(value, list | tuple) and all(_is_number(v, int, least) for v in value)
        if not whole or not value or length not in (None, len(value)):
            size = "some" if length is None else str(length)
            raise _bad(name, f"a list of {size} integers of at least {least}", value)
        return tuple(value)
    wanted = int if kind == "int" else float
    if not _is_number(value, wanted, 1 if wanted is int else 0):
        raise _bad(name, "a positive integer" if wanted is int else "a positive number", value)
    return value


def _is_number(value: Any, kind: type, least: int) -> bool:
    numeric = isinstance(value, int if kind is int else int | float)
    positive = numeric and not isinstance(value, bool) and least <= value <= _LARGEST
    return positive and (kind is int or value > 0)


def _check(hp: Hparams) -> None:
    """Rules between fields."""
    if hp.image_size % IMAGE_STEP:
        raise _bad("image_size", f"a multiple of {IMAGE_STEP}", hp.image_size)
    if hp.in_channels not in (1, 3):
        raise _bad("in_channels", "1 or 3", hp.in_channels)
    if not hp.mix < 1:
        raise _bad("mix", "below 1", hp.mix)
    group = math.lcm(*hp.branches)
    for stage in range(4):
        blocks = [hp.mixes(stage, block) for block in range(hp.depths[stage])]
        _check_side(hp, stage, any(blocks))
        if not all(blocks) and hp.widths[stage] % group:
            raise _bad("widths", f"multiples of {group}, the channels of a group", hp.widths)
        width = hp.mixing_widths[stage]
        rest = width - hp.attention_width(width)
        if any(blocks) and (rest < group or rest % group):
            raise _bad(
                "mixing_widths",
                f"such that what attention leaves is a multiple of {group}, not {rest}",
                hp.mixing_widths,
            )


def _check_side(hp: Hparams, stage: int, mixing: bool) -> None:
    side = hp.image_size // (4 << stage)
    if mixing and side % hp.pooling[stage]:
        raise _bad("pooling", f"a divisor of the stage's side, {side} in stage {stage}", hp.pooling)


def _bad(name: str, rule: str, value: Any) -> ModelError:
    shown = list(value) if isinstance(value, tuple) else value
    return ModelError(f"[config.json] hparams.{name} must be {rule}, but is {shown!r}")
