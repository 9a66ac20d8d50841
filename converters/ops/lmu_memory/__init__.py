"""``lmu_memory``, ``lmu_step`` and ``lmu_step_fixed``: the Legendre memory of one scalar channel.

    m[t] = A m[t−1] + B u[t],   m[−1] = 0                     (recurrence)
    m[t] = Σ_{k=0..t} H[k] u[t−k],   H[k] = A^k B             (finite impulse response)

``A``, ``B`` are the zero-order hold, dt = 1, of the Legendre delay of θ steps (`legendre`). The two
forms are equal as long as t < L, the number of rows of H; an endless stream needs the recurrence.

``lmu_memory(u [B, N], H [L, M]) -> m [B, N, M]`` evaluates a whole sequence, N ≤ L. With binary
``u`` (uint8) each step adds rows of H and multiplies nothing. H may be any causal filter bank: a
linear layer W after the memory folds into it as H Wᵀ.

``lmu_step(u [B, 1], H [L, M], AT [M, M], B [M], history [B, L], m [B, M], t [1], valid [1])
-> (m [B, 1, M], history', m', t')`` is one step of a stream: the finite form, in the same order of
summation as ``lmu_memory``, while t < L; the recurrence from then on. Nothing moves when not valid.

Integer form: ``lmu_memory`` with H int8 and binary u (uint8) gives m int32 in units of 2⁻⁸ of H's:
m = (Σ rows of H) << 8. ``lmu_step_fixed(u, H int8, AT int16 [M, M], right int32 [M], B int32 [M],
history uint8, m int32, t, valid)`` is its step; its recurrence is

    m'_i = ((Σ_j int64(AT[j, i])·m_j + (1 << (right_i − 1))) >> right_i) + u·B_i,  1 ≤ right_i ≤ 62.

Scales of the columns are folded into AT, B and H by the quantizer.

Sources: Voelker et al. 2019 (LMU); Chilkuri & Eliasmith 2021 (parallel form); arXiv 2402.04882.
"""

from millijoule.converters.ops.lmu_memory.legendre import impulse_response, legendre_delay
from millijoule.converters.ops.lmu_memory.op import (
    LMU_MEMORY,
    LMU_STEP,
    LMU_STEP_FIXED,
    MEMORY_BITS,
)
from millijoule.converters.ops.lmu_memory.reference import (
    lmu_memory_reference,
    lmu_step_fixed_reference,
    lmu_step_reference,
)
from millijoule.converters.ops.lmu_memory.torch_op import lmu_memory, lmu_step

__all__ = [
    "LMU_MEMORY",
    "LMU_STEP",
    "LMU_STEP_FIXED",
    "MEMORY_BITS",
    "impulse_response",
    "legendre_delay",
    "lmu_memory",
    "lmu_memory_reference",
    "lmu_step",
    "lmu_step_fixed_reference",
    "lmu_step_reference",
]
