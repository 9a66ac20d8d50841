"""Graph + recipe → a serialized engine, kept by TensorRT version, GPU, graph and recipe.

A kept engine is used only if all four are what they were, and never if it does not load: then it is
built again. Timings of single layers are kept too, so that the next build on this device is short.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ...bundle import Bundle
from ...errors import BundleError, DeviceError
from ...files import atomic_write
from ..graph import cache_folder
from .recipe import check_recipe

__all__ = ["build_engine", "engine_key", "load_engine", "member_engine"]


def engine_key(recipe: dict[str, Any], graph_sha256: str, version: str, gpu: str) -> str:
    """Name of the engine that just these four give."""
    parts = [json.dumps(recipe, sort_keys=True), graph_sha256, version, gpu]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]


def load_engine(trt: Any, bundle: Bundle, gpu: str, graph: str | None = None) -> tuple[Any, str]:
    """The engine of ``bundle`` on this device, and "cached" or "built".

    Args:
        trt: the module ``tensorrt``.
        bundle: a bundle of the target ``tensorrt``.
        gpu: name of the GPU with its compute capability.
        graph: member to build from instead of the program's own.

    Raises:
        BundleError: the bundle's recipe is damaged.
        DeviceError: TensorRT refuses the graph; its own messages are in the error.
    """
    manifest = bundle.manifest
    if manifest.graph is None:
        raise BundleError("[manifest.graph] is missing: the bundle holds no graph")
    check_recipe(manifest.graph.recipe)
    member = graph or manifest.program.library
    if member not in manifest.files:
        raise BundleError(
            f"[manifest.graph.recipe] names {member!r}, but the bundle has no such member"
        )
    return member_engine(trt, bundle, member, manifest.graph.recipe, gpu)


def member_engine(
    trt: Any, bundle: Bundle, member: str, recipe: dict[str, Any], gpu: str
) -> tuple[Any, str]:
    """As `load_engine`, for the graph that the ``member`` of any bundle is."""
    key = engine_key(recipe, bundle.manifest.files[member].sha256, str(trt.__version__), gpu)
    path = cache_folder() / "tensorrt" / f"{key}.engine"
    logger = _logger(trt)
    runtime = trt.Runtime(logger)
    if path.is_file():
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is not None:
            return engine, "cached"
    timing = path.parent / f"timing-{engine_key({}, '', str(trt.__version__), gpu)}.cache"
    data = build_engine(trt, bundle.read(member), recipe, logger, timing)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream:
        stream.write(data)
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise DeviceError(f"[tensorrt] cannot load the engine it built: {_said(logger)}")
    return engine, "built"


def build_engine(
    trt: Any, graph: bytes, recipe: dict[str, Any], logger: Any, timing: Path
) -> bytes:
    """Parse ``graph``, build as ``recipe`` says, and keep the timings in the file ``timing``."""
    builder = trt.Builder(logger)
    network = builder.create_network(_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise DeviceError(f"[tensorrt] it cannot read the graph: {' '.join(errors.split())}")
    config = builder.create_builder_config()
    pool = trt.MemoryPoolType.WORKSPACE
    config.set_memory_pool_limit(pool, int(recipe["workspace_mb"]) << 20)
    if recipe["precision"] == "float16" and not _strongly_typed(trt):
        config.set_flag(trt.BuilderFlag.FP16)
    if not recipe.get("tf32", True):  # on unless it is taken back
        config.clear_flag(trt.BuilderFlag.TF32)
    kept = timing.read_bytes() if timing.is_file() else b""
    cache = config.create_timing_cache(kept)
    config.set_timing_cache(cache, ignore_mismatch=False)
    _profiles(builder, config, recipe)
    data = builder.build_serialized_network(network, config)
    if data is None:
        raise DeviceError(f"[tensorrt] cannot build the engine: {_said(logger)}")
    timing.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(timing) as stream:
        stream.write(bytes(config.get_timing_cache().serialize()))
    return bytes(data)


def _profiles(builder: Any, config: Any, recipe: dict[str, Any]) -> None:
    """Ranges of dynamic shapes: for each profile input name → [least, usual, largest] shape."""
    for ranges in recipe.get("profiles", ()):
        profile = builder.create_optimization_profile()
        for name, shapes in ranges.items():
            profile.set_shape(name, *(tuple(shape) for shape in shapes))
        config.add_optimization_profile(profile)


def _strongly_typed(trt: Any) -> bool:
    """Whether types are those of the graph, as TensorRT has it from 10 on."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def _flags(trt: Any) -> int:
    flags = trt.NetworkDefinitionCreationFlag
    if _strongly_typed(trt):
        return 1 << int(flags.STRONGLY_TYPED)
    return 1 << int(flags.EXPLICIT_BATCH)


def _logger(trt: Any) -> Any:
    """A logger that keeps what TensorRT complains about, and prints it only if asked to."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.messages: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Called by TensorRT."""
            if int(severity) <= int(trt.ILogger.ERROR):
                self.messages.append(message)
            if os.environ.get("MJ_TENSORRT_LOG"):
                print(message)

    return Logger()


def _said(logger: Any) -> str:
    return " ".join("; ".join(logger.messages[-3:]).split()) or "no message"
