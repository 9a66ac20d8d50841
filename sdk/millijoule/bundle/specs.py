"""Parts of the manifest that describe tensors and kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .fields import Fields

__all__ = ["DTYPES", "Kernel", "KernelOutput", "SpikeInput", "StateSpec", "TensorSpec"]

#: Element types of inputs, outputs and states (``mj_dtype`` in millijoule.h has the same).
DTYPES = (
    "float32",
    "float16",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
)
_KERNEL_DTYPES = (*DTYPES, "bool", "uint64", "float64")

_MAX_RANK = 8
_MAX_OMITTED = 127  # fits every integer type
_MAX_KERNEL_OUTPUTS = 64


@dataclass(frozen=True)
class TensorSpec:
    """A dense row-major tensor that goes into or comes out of a program.

    ``batch_axis`` is the axis along which samples lie; None for a tensor that all samples share.
    ``pad_axis``: an axis along which `Session.run` takes shorter inputs, filled up with zeros, and
    gives outputs of the inputs' length. ``omitted``: what an integer input is everywhere if it is
    left out; None if it must be given. ``limit``: values must be in 0 … limit − 1. ``sizes``: one
    text per axis if a size varies, as `millijoule.sizes` writes it; ``shape`` is the largest.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    batch_axis: int | None = 0
    pad_axis: int | None = None
    omitted: int | None = None
    limit: int | None = None
    sizes: tuple[str, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @classmethod
    def from_json(cls, value: Any, where: str) -> TensorSpec:
        """Read one entry of ``io.inputs`` or ``io.outputs``."""
        with Fields(value, where) as fields:
            shape = fields.shape("shape", _MAX_RANK)
            rank = len(shape)
            return cls(
                fields.text("name"),
                shape,
                fields.choice("dtype", DTYPES),
                _batch_axis(fields, rank, default=0),
                fields.integer("pad_axis", 0, rank - 1) if fields.has("pad_axis") else None,
                fields.integer("omitted", 0, _MAX_OMITTED) if fields.has("omitted") else None,
                fields.integer("limit", 1) if fields.has("limit") else None,
                _sizes(fields, rank),
            )


@dataclass(frozen=True)
class StateSpec:
    """A tensor that a streaming program carries from step to step.

    ``initial`` is ``"zeros"``, or ``"weights"`` if the weights blob holds the initial value.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    initial: str = "zeros"

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @classmethod
    def from_json(cls, value: Any, where: str) -> StateSpec:
        """Read one entry of ``streaming.states``."""
        with Fields(value, where) as fields:
            return cls(
                fields.text("name"),
                fields.shape("shape", _MAX_RANK),
                fields.choice("dtype", DTYPES),
                fields.choice("initial", ("zeros", "weights")),
            )


@dataclass(frozen=True)
class KernelOutput:
    """One output of a kernel.

    With an ``offset`` it lies there in the arena just after the kernel ran; without, it is an
    output or a state of the program. With a ``name`` and an offset it is a *tap*: it can be read.
    ``sizes`` as those of a `TensorSpec`.
    """

    name: str | None
    offset: int | None
    shape: tuple[int, ...]
    dtype: str
    batch_axis: int | None = None
    sizes: tuple[str, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @classmethod
    def from_json(cls, value: Any, where: str) -> KernelOutput:
        """Read one entry of ``kernels[i].outputs``."""
        with Fields(value, where) as fields:
            shape = fields.shape("shape", _MAX_RANK)
            return cls(
                fields.text("name") if fields.has("name") else None,
                fields.integer("offset") if fields.has("offset") else None,
                shape,
                fields.choice("dtype", _KERNEL_DTYPES),
                _batch_axis(fields, len(shape), default=None),
                _sizes(fields, len(shape)),
            )


def _sizes(fields: Fields, rank: int) -> tuple[str, ...] | None:
    """The optional ``sizes``; `checks` compares them with the dimensions of the manifest."""
    if not fields.has("sizes"):
        return None
    sizes = fields.texts("sizes", rank)
    if len(sizes) != rank:
        fields.fail("sizes", f"{rank} texts, one per axis")
    return sizes


def _batch_axis(fields: Fields, rank: int, default: int | None) -> int | None:
    """The optional ``batch_axis`` of a tensor; null says that there is none."""
    if fields.has("batch_axis"):
        if rank == 0:
            fields.fail("batch_axis", "null for a scalar")
        return fields.integer("batch_axis", 0, rank - 1)
    return None if fields.present("batch_axis") or rank == 0 else default


@dataclass(frozen=True)
class SpikeInput:
    """How the additions of a spike-driven kernel follow from the spikes in ``tap``.

    Actual additions = ``adds_per_spike`` × spikes; ``dense_adds`` is their number at rate 1.
    """

    tap: str
    adds_per_spike: float
    dense_adds: int

    @classmethod
    def from_json(cls, fields: Fields) -> SpikeInput:
        """Read ``kernels[i].spike_input``."""
        with fields:
            return cls(
                fields.text("tap"),
                fields.real("adds_per_spike"),
                fields.integer("dense_adds"),
            )


@dataclass(frozen=True)
class Kernel:
    """One kernel call of the program; counts are per call of the program, at the bundle's batch.

    ``multiplies``, ``adds`` and ``binary_ops`` count scalar operations; ``*_bytes`` and ``bytes_*``
    count bytes. Where sizes vary they are those of the largest, and ``sizes`` has, by name of the
    count, what it is of any: see `at_sizes`.
    """

    name: str
    op: str
    layer: str
    multiplies: int
    adds: int
    binary_ops: int
    weight_bytes: int
    bytes_read: int
    bytes_written: int
    outputs: tuple[KernelOutput, ...]
    spike_input: SpikeInput | None
    sizes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Any, where: str) -> Kernel:
        """Read one entry of ``kernels``."""
        with Fields(value, where) as fields:
            has_spikes = fields.has("spike_input")
            return cls(
                name=fields.text("name"),
                op=fields.text("op"),
                layer=fields.line("layer"),
                multiplies=fields.integer("multiplies"),
                adds=fields.integer("adds"),
                binary_ops=fields.integer("binary_ops"),
                weight_bytes=fields.integer("weight_bytes"),
                bytes_read=fields.integer("bytes_read"),
                bytes_written=fields.integer("bytes_written"),
                outputs=fields.items("outputs", _MAX_KERNEL_OUTPUTS, KernelOutput.from_json),
                spike_input=SpikeInput.from_json(fields.object("spike_input"))
                if has_spikes
                else None,
                sizes=_count_sizes(fields),
            )


#: Counts of a kernel that may vary with the sizes of a run.
VARYING = ("multiplies", "adds", "binary_ops", "bytes_read", "bytes_written")


def _count_sizes(fields: Fields) -> dict[str, str]:
    """The optional ``sizes`` of a kernel."""
    if not fields.has("sizes"):
        return {}
    with fields.object("sizes") as sizes:
        return {name: sizes.text(name) for name in VARYING if sizes.has(name)}
