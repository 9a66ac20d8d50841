"""Bundles (``.mjb``): one file that holds a compiled model, its description and its samples."""

from ..npz import npz_bytes
from .firmware import EMIT, STATIC_LIBRARY, Firmware, FlashUse, Limits, RamUse
from .graph import GRAPH_KINDS, GraphLayer, GraphProgram, GraphState
from .manifest import (
    Arena,
    FileEntry,
    Manifest,
    ModelInfo,
    Program,
    Streaming,
    Target,
    layer_group,
)
from .reader import MANIFEST, SAMPLE_INPUTS, SAMPLE_OUTPUTS, Bundle
from .specs import DTYPES, Kernel, KernelOutput, SpikeInput, StateSpec, TensorSpec
from .writer import write_bundle

__all__ = [
    "DTYPES",
    "EMIT",
    "GRAPH_KINDS",
    "MANIFEST",
    "SAMPLE_INPUTS",
    "SAMPLE_OUTPUTS",
    "STATIC_LIBRARY",
    "Arena",
    "Bundle",
    "FileEntry",
    "Firmware",
    "FlashUse",
    "GraphLayer",
    "GraphProgram",
    "GraphState",
    "Kernel",
    "KernelOutput",
    "Limits",
    "Manifest",
    "ModelInfo",
    "Program",
    "RamUse",
    "SpikeInput",
    "StateSpec",
    "Streaming",
    "Target",
    "TensorSpec",
    "layer_group",
    "npz_bytes",
    "write_bundle",
]
