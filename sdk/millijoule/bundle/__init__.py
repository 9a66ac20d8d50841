"""Bundles (``.mjb``): one file that holds a compiled model, its description and its samples."""

from ..npz import npz_bytes
from .cuda import (
    CUDA_ENTRY,
    CUDA_SOURCE,
    STATIC_CUDA,
    CudaKernel,
    CudaLaunch,
    CudaProgram,
)
from .firmware import EMIT, STATIC_LIBRARY, Firmware, FlashUse, Limits, RamUse
from .graph import GRAPH_KINDS, GraphLayer, GraphProgram, GraphState
from .manifest import MAX_DIMS, Manifest
from .parts import Arena, FileEntry, ModelInfo, Program, Streaming, Target, layer_group
from .plugins import (
    PLUGIN_DOMAIN,
    PLUGIN_NAME,
    PLUGIN_VERSION,
    PluginEntry,
    PluginLaunch,
    PluginOutput,
    PluginTable,
)
from .reader import MANIFEST, SAMPLE_INPUTS, SAMPLE_OUTPUTS, Bundle, sample_member
from .specs import DTYPES, Kernel, KernelOutput, SpikeInput, StateSpec, TensorSpec
from .split import RUNTIMES, SplitPlan, SplitRegion
from .writer import write_bundle

__all__ = [
    "CUDA_ENTRY",
    "CUDA_SOURCE",
    "DTYPES",
    "EMIT",
    "GRAPH_KINDS",
    "MANIFEST",
    "MAX_DIMS",
    "PLUGIN_DOMAIN",
    "PLUGIN_NAME",
    "PLUGIN_VERSION",
    "RUNTIMES",
    "SAMPLE_INPUTS",
    "SAMPLE_OUTPUTS",
    "STATIC_CUDA",
    "STATIC_LIBRARY",
    "Arena",
    "Bundle",
    "CudaKernel",
    "CudaLaunch",
    "CudaProgram",
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
    "PluginEntry",
    "PluginLaunch",
    "PluginOutput",
    "PluginTable",
    "Program",
    "RamUse",
    "SpikeInput",
    "SplitPlan",
    "SplitRegion",
    "StateSpec",
    "Streaming",
    "Target",
    "TensorSpec",
    "layer_group",
    "npz_bytes",
    "sample_member",
    "write_bundle",
]
