"""Executors: what runs the program of a bundle.

On this machine the kind of program in the manifest chooses; elsewhere the device does.
"""

from __future__ import annotations

from importlib import import_module

from ..bundle import Bundle
from ..errors import BundleError, DeviceError
from .base import ALIGNMENT, Program, aligned_empty

__all__ = ["ALIGNMENT", "CHECKERS", "KINDS", "LOCAL", "Program", "aligned_empty", "open_program"]

#: Name of the device that is this machine.
LOCAL = "local"

#: Module and class of the executor for each kind of program; imported when one is opened.
KINDS = {
    "mlprogram": ("mil", "CoremlProgram"),
    "onnx": ("tensorrt", "TensorRTProgram"),
    "static-aot": ("native", "NativeProgram"),
    "static-cuda": ("cuda", "CudaProgram"),
    "tflite": ("litert", "LitertProgram"),
}

#: Devices that calculate here in place of a program's own runtime or GPU: kind, module, class.
CHECKERS = {
    "cuda-emulator": ("static-cuda", "cuda", "EmulatedCuda"),
    "mil-evaluator": ("mlprogram", "mil", "MilEvaluator"),
    "onnxruntime": ("onnx", "onnxruntime", "OnnxRuntimeProgram"),
}


def open_program(bundle: Bundle, threads: int, device: str = LOCAL) -> Program:
    """Load the program of ``bundle`` with fresh states.

    Args:
        bundle: an open bundle.
        threads: threads of the program, the caller's included.
        device: a name of ``mj devices``.

    Raises:
        BundleError: its kind is unknown, or the program does not match the manifest.
        DeviceError: the device cannot run it.
        UsageError: a bad number of threads, or no such device.
    """
    if device in CHECKERS:
        return _open_checker(bundle, threads, device)
    if device != LOCAL:
        from ..remote import get_device  # not needed where programs really run
        from ..remote.emulated import EmulatedProgram

        return EmulatedProgram(bundle, get_device(device), threads)
    kind = bundle.manifest.program.kind
    if kind == "static-library":
        target = bundle.manifest.target.name
        raise DeviceError(
            f"the bundle is for bare metal ({target}); run it in an emulator with --device"
            f" qemu:{target}, or take it to its device with `mj export`"
        )
    if kind not in KINDS:
        raise BundleError(
            f"[manifest.program.kind] must be one of {', '.join(KINDS)}, but received {kind!r};"
            " update Millijoule to run this bundle"
        )
    return _open(*KINDS[kind], bundle, threads)


def _open_checker(bundle: Bundle, threads: int, device: str) -> Program:
    kind, module, name = CHECKERS[device]
    if bundle.manifest.program.kind != kind:
        raise DeviceError(
            f"[device] {device} calculates {kind} programs, but this one is of kind"
            f" {bundle.manifest.program.kind}; run it without --device"
        )
    return _open(module, name, bundle, threads)


def _open(module: str, name: str, bundle: Bundle, threads: int) -> Program:
    program: Program = getattr(import_module(f".{module}", __name__), name)(bundle, threads)
    return program
