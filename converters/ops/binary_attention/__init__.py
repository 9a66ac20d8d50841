"""``binary_attention``: attention whose queries, keys, values and map are one bit each.

``q, k, v [B, N, D]`` float32, D = heads · d, of which only signs matter (sign(0) = 0). For query i
and key j of a head, ``s_ij = Σ_c sign(q_ic)·sign(k_jc)``, an exact integer. The map ``A ∈ {0, 1}``
and the context follow one of three rules:

``bool`` (BiBERT; BiViT's baseline)
    A_ij = 1 if s_ij/√d + mask_j > 0,    ctx_i = Σ_j A_ij · sign(v_j)
``threshold`` (BiViT's softmax-aware binarization)
    A_ij = 1 if max_j s_ij − s_ij ≤ ⌊ln 4 · √d⌋,    ctx as above. This is softmax(s/√d)_ij ≥
    ¼ · max_j softmax(s/√d)_ij with no exponential. It takes no mask.
``softmax`` (BiPFT)
    L_ij = q_m,i·k_p,j + q_p,i·k_m,j + q_p,i·k_p,j,
    P = softmax((α_qk·s + L)/√d + mask),    A_ij = 1 if P_ij/α_attn > ½,
    ctx_i = α_attn·α_v · Σ_j A_ij sign(v_j) + α_attn · Σ_j A_ij v_p,j,   v_p in every dimension

Comparisons are strict where written so. Operands in order: ``q, k, v``; for ``softmax`` then
``low [B, N, 5]`` — per token q_m, q_p, k_m, k_p, v_p, shared by all heads — and ``scales [3]`` —
α_qk, α_attn, α_v; then ``mask [B, N]`` float32, added to the scores of key j, if there is one.

Results: ctx ``[B, N, D]`` float32 (integers but for ``softmax``) and A ``[B, heads, N, N]`` uint8,
which can be read back as ``map:<layer>``. With ``maps=False`` nobody asks for A and a kernel may
leave it unwritten.

Sources: BiBERT (arXiv 2203.06390), BiPFT (AAAI 2024), BiViT (arXiv 2211.07091).
"""

from millijoule.converters.ops.binary_attention.op import BINARY_ATTENTION, RULES, int_threshold
from millijoule.converters.ops.binary_attention.reference import binary_attention_reference
from millijoule.converters.ops.binary_attention.torch_op import binary_attention

__all__ = [
    "BINARY_ATTENTION",
    "RULES",
    "binary_attention",
    "binary_attention_reference",
    "int_threshold",
]
