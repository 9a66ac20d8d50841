"""``spike_conv``: a 1-D convolution along time whose input is spikes, by adding active columns.

    y[b, t, :] = Σ_{k < K} Σ_{i: s[b, t+k−padding, i] ≠ 0} s[b, t+k−padding, i] · w[k, i, :]

``s [B, N, C]`` uint8 (0/1 when ``binary``, else small counts), channels last so that one step's
spikes are contiguous; ``w [K, C, O]`` float32; zero padding in time. Result
``[B, N + 2·padding − K + 1, O]``. A stream calls it with padding 0 on a window of K steps.

Integer form: ``w`` int8, result int32; sums are exact, so their order is free.
"""

from millijoule.converters.ops.spike_conv.op import SPIKE_CONV
from millijoule.converters.ops.spike_conv.reference import spike_conv_reference
from millijoule.converters.ops.spike_conv.torch_op import spike_conv

__all__ = ["SPIKE_CONV", "spike_conv", "spike_conv_reference"]
