"""The vocabulary: the few operators that carry these models' savings.

Importing this package registers every op with torch and fills `VOCABULARY`. To add one, see
docs/add-an-op.md.
"""

from millijoule.converters.ops.binary_attention import binary_attention
from millijoule.converters.ops.binary_embedding import binary_embedding
from millijoule.converters.ops.binary_linear import binarize, binarize_ste, binary_linear
from millijoule.converters.ops.lif import LifRule, lif, lif_record, pack_params
from millijoule.converters.ops.lif_fixed import LIF_FIXED
from millijoule.converters.ops.lmu_memory import LMU_STEP_FIXED, lmu_memory, lmu_step
from millijoule.converters.ops.quantize import QUANTIZE
from millijoule.converters.ops.rescale import RESCALE
from millijoule.converters.ops.spike_conv import spike_conv
from millijoule.converters.ops.spike_linear import spike_linear
from millijoule.converters.ops.vocabulary import (
    VOCABULARY,
    OpCounts,
    TensorType,
    VocabularyOp,
    accumulator,
)

__all__ = [
    "LIF_FIXED",
    "LMU_STEP_FIXED",
    "QUANTIZE",
    "RESCALE",
    "VOCABULARY",
    "LifRule",
    "OpCounts",
    "TensorType",
    "VocabularyOp",
    "accumulator",
    "binarize",
    "binarize_ste",
    "binary_attention",
    "binary_embedding",
    "binary_linear",
    "lif",
    "lif_record",
    "lmu_memory",
    "lmu_step",
    "pack_params",
    "spike_conv",
    "spike_linear",
]
