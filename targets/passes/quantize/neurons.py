"""Parameters of ``lif_fixed`` from those of ``lif`` and the meaning of its integer input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from millijoule.converters.ops.lif.rule import LifRule
from millijoule.errors import UnsupportedError
from millijoule.targets.passes.quantize.numbers import (
    INT32_LIMIT,
    UNIT_BITS,
    common_multiplier,
    fixed,
    fraction_for,
)

MIN_FRACTION = 6  # coarser potentials than 1/64 are no longer the same neuron
ENDLESS_STEPS = 1024  # of a neuron without leak: how long its largest input may keep coming


@dataclass(frozen=True)
class FixedNeurons:
    """``params`` int32 [7, C] of ``lif_fixed`` and the fraction bits of its potentials.

    ``bound``: largest potential, in units of the last place.
    """

    params: np.ndarray
    fraction: int
    bound: int


def fixed_neurons(
    params: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    input_bound: int,
    rule: LifRule,
    steps: int,
    layer: str,
) -> FixedNeurons:
    """Parameters for inputs whose integers stand for ``integer · scale [C] + bias [C]``.

    Args:
        params: float [6, C] of ``lif``: scale, shift, decay, threshold, reset, synapse.
        input_bound: largest magnitude of the input's integers.
        steps: steps of a whole sequence; 1 for a stream.

    Raises UnsupportedError naming ``layer`` if no fixed point holds its potentials.
    """
    gain, shift, decay, threshold, reset, synapse = params.astype(np.float64)
    factor, shift = gain * scale, gain * bias + shift
    drive = np.abs(factor) * input_bound + np.abs(shift)
    count = steps if steps > 1 else ENDLESS_STEPS
    reach = potential_bound(drive, params, rule, count)
    fraction = fraction_for(float(reach.max()))
    if fraction < MIN_FRACTION:
        raise UnsupportedError(
            f"[quantize] neurons {layer!r} can reach potentials of {reach.max():.3g}, which leaves "
            f"{fraction} fraction bits of 32, but {MIN_FRACTION} are needed; scale the layer's "
            "weights and thresholds down together, or build it with dtype float32"
        )
    multiplier, right = common_multiplier(np.ldexp(factor, fraction))
    rows = [
        multiplier,
        np.full_like(multiplier, right),  # one shift for all: kernels have it as a constant
        fixed(shift, fraction),
        fixed(decay, UNIT_BITS),
        fixed(threshold, fraction),
        fixed(reset, fraction),
        fixed(synapse, UNIT_BITS),
    ]
    table = np.stack(rows)
    if np.abs(table).max() > INT32_LIMIT:
        raise UnsupportedError(
            f"[quantize] neurons {layer!r} have a decay or synapse of "
            f"{max(np.abs(decay).max(), np.abs(synapse).max()):.3g}, but Q1.15 ends at 65536; "
            "build it with dtype float32"
        )
    bound = int(np.ceil(np.ldexp(reach.max(), fraction))) + 1
    return FixedNeurons(table.astype(np.int32), fraction, bound)


def potential_bound(drive: np.ndarray, params: np.ndarray, rule: LifRule, steps: int) -> np.ndarray:
    """Largest magnitude per channel of any potential or current, for inputs up to ``drive``.

    A leak that keeps the share k of the potential sums a geometric series, |v| ≤ step / (1 − k);
    without a leak ``steps`` steps are summed.
    """
    _, _, decay, threshold, reset, synapse = np.abs(params.astype(np.float64))
    if rule.synaptic:
        drive = drive * _series(synapse, steps)
    kept = np.abs(1 - decay) if rule.charge == "blend" else decay
    step = (decay * drive if rule.charge == "blend" else drive) + threshold + reset
    return np.maximum.reduce([drive, step * _series(kept, steps), threshold, reset])


def _series(kept: np.ndarray, steps: int) -> np.ndarray:
    """1 + k + k² + …, endless where it converges fast, else ``steps`` terms."""
    safe = np.where(kept < 1, kept, 0.0)
    terms = np.maximum(steps, steps * np.power(np.maximum(kept, 1.0), min(steps, 64)))
    return np.where(kept < 1, np.minimum(1 / (1 - safe), terms), terms)
