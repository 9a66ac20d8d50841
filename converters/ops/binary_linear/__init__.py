"""``binary_linear``: a linear layer whose weights, and perhaps activations, are signs.

    y[…, o] = scale[o] · Σ_k a[…, k] · w[o, k] + bias[o]

``x [..., K]`` float32. ``a = sign(x)`` when ``activations`` is "sign" — sign(0) = 0, so values are
really ternary and the sum is an exact integer — or ``a = x`` when it is "real". ``w [O, K]`` int8
in {-1, 0, +1}; ``scale [O]`` or ``[1]`` (for the whole layer) and ``bias [O]`` float32. Result
``[..., O]`` float32. How signs are packed into words is the business of kernels.

``binarize`` derives ``w`` and its scale from real weights W, exactly; ``binarize_ste`` gives the
same values with straight-through gradients to W, for training:

    w = sign(W − mean W),  α = mean |W|      (the scale is of the *uncentred* weights)

with both means per row, as BiBERT has it, or over the whole matrix, as BiPFT.

Sources: BiBERT (arXiv 2203.06390), BiPFT (AAAI 2024), BiViT (arXiv 2211.07091), XNOR-Net
(arXiv 1603.05279).
"""

from millijoule.converters.ops.binary_linear.op import ACTIVATIONS, BINARY_LINEAR
from millijoule.converters.ops.binary_linear.reference import binary_linear_reference
from millijoule.converters.ops.binary_linear.torch_op import binary_linear
from millijoule.converters.ops.binary_linear.weights import SPANS, binarize, binarize_ste

__all__ = [
    "ACTIVATIONS",
    "BINARY_LINEAR",
    "SPANS",
    "binarize",
    "binarize_ste",
    "binary_linear",
    "binary_linear_reference",
]
