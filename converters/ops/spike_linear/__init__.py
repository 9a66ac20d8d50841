"""``spike_linear``: a linear layer whose input is spikes, computed by adding active columns.

    y[b, t, :] = bias + Σ_{i: s[b,t,i] ≠ 0} s[b, t, i] · w[i, :]

``s [B, N, K]`` uint8: 0/1 when ``binary`` (then nothing is multiplied), else small spike counts
(sums of several neurons' spikes). ``w [K, O]`` float32, input-channel-major so that a column of the
layer is one contiguous run; ``bias [O]``. Result ``[B, N, O]`` float32.

Integer form: ``w`` int8, ``bias`` int32, result int32; sums are exact, so their order is free.
"""

from millijoule.converters.ops.spike_linear.op import SPIKE_LINEAR
from millijoule.converters.ops.spike_linear.reference import spike_linear_reference
from millijoule.converters.ops.spike_linear.torch_op import spike_linear

__all__ = ["SPIKE_LINEAR", "spike_linear", "spike_linear_reference"]
