"""``binary_embedding``: rows of a table of signs, each with a scale of its own.

    y[…, :] = scale[i] · w[i, :],   i = min(max(ids[…], 0), V − 1)

``ids [...]`` int32 or int64, ``w [V, H]`` int8 in {-1, 0, +1}, ``scale [V]`` float32. Result
``[..., H]`` float32, exact. Clamping keeps a wrong id inside the table; sessions refuse it first.

Sources: BiBERT (arXiv 2203.06390) and BiPFT (AAAI 2024), whose word embeddings are binary.
"""

from millijoule.converters.ops.binary_embedding.op import BINARY_EMBEDDING
from millijoule.converters.ops.binary_embedding.reference import binary_embedding_reference
from millijoule.converters.ops.binary_embedding.torch_op import binary_embedding

__all__ = ["BINARY_EMBEDDING", "binary_embedding", "binary_embedding_reference"]
