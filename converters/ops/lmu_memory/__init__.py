"""``lmu_memory`` and ``lmu_step``: the Legendre memory of one scalar channel.

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

Sources: Voelker et al. 2019 (LMU); Chilkuri & Eliasmith 2021 (parallel form); arXiv 2402.04882.
"""

from millijoule.converters.ops.lmu_memory.legendre import impulse_response, legendre_delay
from millijoule.converters.ops.lmu_memory.op import LMU_MEMORY, LMU_STEP
from millijoule.converters.ops.lmu_memory.reference import (
    lmu_memory_reference,
    lmu_step_reference,
)
from millijoule.converters.ops.lmu_memory.torch_op import lmu_memory, lmu_step

__all__ = [
    "LMU_MEMORY",
    "LMU_STEP",
    "impulse_response",
    "legendre_delay",
    "lmu_memory",
    "lmu_memory_reference",
    "lmu_step",
    "lmu_step_reference",
]
