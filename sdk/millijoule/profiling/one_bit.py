"""What papers on binary networks count, beside what a program really holds and does.

They take 64 one-bit operations, each a product with its sum, for one operation, and one bit for a
weight. A program that runs also holds scales, biases, norms, embeddings and whatever else stays in
full precision; that is what its weights take here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..bundle import Kernel, Manifest

PER_OPERATION = 64
FLOAT_BYTES = 4


@dataclass(frozen=True)
class OneBit:
    """Counts per program call, and sizes.

    Attributes:
        binary_ops: One-bit products, each with its sum.
        other_ops: Multiplies and adds of everything else, dense.
        float32_bytes: What all parameters take in float32.
        weight_bytes: All weights of the program, in full precision or in bits.
    """

    binary_ops: int
    other_ops: int
    float32_bytes: int
    weight_bytes: int

    @property
    def as_published(self) -> float:
        """Operations by the papers' count."""
        return self.binary_ops / PER_OPERATION + self.other_ops

    @property
    def times_smaller(self) -> float:
        """Parameters in float32 over the program's weights."""
        return self.float32_bytes / self.weight_bytes

    def to_dict(self) -> dict[str, float]:
        """Plain data for JSON."""
        return {
            "binary_ops": self.binary_ops,
            "other_ops": self.other_ops,
            "operations_as_published": self.as_published,
            "float32_bytes": self.float32_bytes,
            "weight_bytes": self.weight_bytes,
            "times_smaller": self.times_smaller,
        }


def one_bit(manifest: Manifest) -> OneBit | None:
    """The counts of a program with one-bit operations, None for any other."""
    kernels: Iterable[Kernel] = manifest.kernels
    binary = sum(k.binary_ops for k in kernels)
    weights = manifest.files[manifest.program.weights].bytes
    if not binary or not weights:
        return None
    return OneBit(
        binary_ops=binary,
        other_ops=sum(k.multiplies + k.adds for k in kernels),
        float32_bytes=FLOAT_BYTES * manifest.model.parameters,
        weight_bytes=weights,
    )
