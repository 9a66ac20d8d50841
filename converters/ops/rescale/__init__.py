"""``rescale``: int32 → int32 in another fixed point, a factor and an offset per channel.

    y = ((int64(x)·multiplier + (1 << (right − 1))) >> right) + offset

rounded to nearest, ties upwards. ``x [..., C]`` int32; ``multiplier [C]``, ``offset [C]`` int32;
attribute ``right`` (1 … 62) for all channels. It brings sums of int8 weights to the fixed point in
which residual branches add up. The op is made by the quantizer, so it has no torch form; results
must stay inside int32, which the quantizer checks.
"""

from millijoule.converters.ops.rescale.op import RESCALE
from millijoule.converters.ops.rescale.reference import rescale_reference

__all__ = ["RESCALE", "rescale_reference"]
