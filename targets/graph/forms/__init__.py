"""Vocabulary ops in ordinary Relax operators, for formats that have no kernel of ours.

A form takes the op's attributes and operands and returns its results. Spikes are float32 here.
"""

from __future__ import annotations

from millijoule.targets.graph.forms.binary import (
    binary_attention,
    binary_embedding,
    binary_linear,
)
from millijoule.targets.graph.forms.expansion import Expansion, Form
from millijoule.targets.graph.forms.lif import lif
from millijoule.targets.graph.forms.lmu import lmu_memory, lmu_step
from millijoule.targets.graph.forms.quantize import quantize
from millijoule.targets.graph.forms.spikes import spike_conv, spike_linear

FORMS: dict[str, Form] = {
    "binary_attention": binary_attention,
    "binary_embedding": binary_embedding,
    "binary_linear": binary_linear,
    "lif": lif,
    "lif_record": lif,
    "lmu_memory": lmu_memory,
    "lmu_step": lmu_step,
    "quantize": quantize,
    "spike_conv": spike_conv,
    "spike_linear": spike_linear,
}

__all__ = ["FORMS", "Expansion", "Form"]
