"""``quantize``: float32 → int8, symmetric, one scale for the whole tensor.

    v = clamp(x · (1/scale), −127, 127) ;  q = trunc(v + (v ≥ 0 ? ½ : −½))

The reciprocal is rounded to float32 once, at build time; the truncation makes the rounding "half
away from zero" with the conversion instruction that every core has. ``x`` may have any shape;
attribute ``scale`` > 0. The op is made by the quantizer, so it has no torch form.
"""

from millijoule.converters.ops.quantize.op import QUANTIZE
from millijoule.converters.ops.quantize.reference import quantize_reference

__all__ = ["QUANTIZE", "quantize_reference"]
