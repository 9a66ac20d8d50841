"""`Model`: what a converter hands to a target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from millijoule.converters.ops.vocabulary import TensorType
from millijoule.sizes import Dim, dims_of

if TYPE_CHECKING:
    import tvm

Named = tuple[str, TensorType]


@dataclass(frozen=True)
class StreamingInfo:
    """``delay``: steps between a frame going in and its prefix output coming out."""

    delay: int


@dataclass(frozen=True)
class Sample:
    """Inputs by name, and what they must give."""

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


@dataclass
class Model:
    """A Relax module (weights inside, as constants) and everything a bundle says about it.

    ``main`` takes ``inputs`` then ``states`` and returns ``outputs`` then the new states.
    ``layers``: Relax variable name → torch module path. ``reference_macs``: dense
    multiply-accumulates per sample by layer. ``sample_inputs``/``sample_outputs``: what a session
    is given and must return; ``spikes:<layer>`` outputs are taps and exact. ``more_samples``: those
    of other sizes, of a model with dynamic axes. ``dtype``: what to build it as, and
    ``calibration``: inputs to choose int8 scales with, by name, and perhaps ``labels``.
    ``quantization``: how an integer model came about (``manifest.quantization``), None
    for a float one. ``options``: by name of an input or output, what a `TensorSpec` says of it
    besides its type. ``files``: further members of the bundle. ``aliases``: names under which
    intermediate values are read, in place of the layer's path or tap that they are known by.
    ``at_batch``: the same model for another number of samples per call.
    """

    name: str
    module: tvm.IRModule
    layers: Mapping[str, str]
    inputs: tuple[Named, ...]
    outputs: tuple[Named, ...]
    sample_inputs: Mapping[str, np.ndarray]
    sample_outputs: Mapping[str, np.ndarray]
    more_samples: tuple[Sample, ...] = ()
    states: tuple[Named, ...] = ()
    streaming: StreamingInfo | None = None
    family: str = "torch"
    variant: str = ""
    hparams: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    source: str | None = None
    ignored_keys: Sequence[str] = ()
    labels: Sequence[str] | None = None
    frontend: Mapping[str, Any] | None = None
    reference_macs: Mapping[str, int] = field(default_factory=dict)
    dtype: str = "float32"
    calibration: Mapping[str, np.ndarray] | None = None
    quantization: Mapping[str, Any] | None = None
    options: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    tolerance: Mapping[str, float] = field(default_factory=lambda: {"default": 2e-5})
    at_batch: Callable[[int], Model] | None = None

    @property
    def dims(self) -> tuple[Dim, ...]:
        """Dimensions of the inputs whose size may vary, by name."""
        return tuple(sorted(dims_of(d for _, t in self.inputs for d in t.shape)))
