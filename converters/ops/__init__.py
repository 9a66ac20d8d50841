"""The vocabulary: the few operators that carry these models' savings.

Importing this package registers every op with torch and fills `VOCABULARY`. To add one, see
docs/add-an-op.md.
"""

from millijoule.converters.ops.lif import LifRule, lif, lif_record, pack_params
from millijoule.converters.ops.lmu_memory import lmu_memory, lmu_step
from millijoule.converters.ops.spike_conv import spike_conv
from millijoule.converters.ops.spike_linear import spike_linear
from millijoule.converters.ops.vocabulary import VOCABULARY, OpCounts, TensorType, VocabularyOp

__all__ = [
    "VOCABULARY",
    "LifRule",
    "OpCounts",
    "TensorType",
    "VocabularyOp",
    "lif",
    "lif_record",
    "lmu_memory",
    "lmu_step",
    "pack_params",
    "spike_conv",
    "spike_linear",
]
