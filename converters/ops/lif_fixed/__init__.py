"""``lif_fixed``: `lif` on integers, for layers whose inputs are int32 sums of int8 weights.

Potentials, thresholds, shifts and resets are Q15.16 (int32; real = v / 65536), decay and synapse
Q1.15 (32768 = 1). All shifts are arithmetic, so every product is rounded to nearest, ties upwards::

    z = ((int64(x)·multiplier + (1 << (right − 1))) >> right) + shift
    synaptic:          i ← ((int64(synapse)·i + 16384) >> 15) + z ;  z = i
    charge "blend":    u = v + ((int64(z − v)·decay + 16384) >> 15)
    charge "leak":     u = ((int64(decay)·v + 16384) >> 15) + z

and on as `millijoule.converters.ops.lif` says, on integers: spikes, resets and gates are exact.

Operands: ``x [B, N, C]`` int32; ``params [7, C]`` int32 with rows multiplier, right (1 … 62),
shift, decay, threshold, reset, synapse; ``state [B, S, C]`` int32; ``valid [N]`` int32 or absent.
Results: ``spikes [B, N, C]`` uint8, ``state' [B, S, C]`` int32. Attributes are those of ``lif``.
The op is made by the quantizer, so it has no torch form. Sums must stay inside int32: the
quantizer chooses the scales, and checks.
"""

from millijoule.converters.ops.lif_fixed.op import LIF_FIXED
from millijoule.converters.ops.lif_fixed.reference import lif_fixed_reference

__all__ = ["LIF_FIXED", "lif_fixed_reference"]
