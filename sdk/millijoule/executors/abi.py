"""The C ABI of ``millijoule.h`` as ctypes, and loading libraries that speak it.

A library is loaded once per content and stays loaded: unloading code that a thread might still run
is never safe, and contexts of one library are independent of each other.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)

from ..errors import BundleError, DeviceError

__all__ = [
    "ABI_VERSION",
    "DTYPE_NAMES",
    "HOOK",
    "NOT_FINITE",
    "ModelDescriptor",
    "TensorDescriptor",
    "library",
]

ABI_VERSION = 1

#: ``MJ_ERR_NOT_FINITE``: the status of ``mj_run_finite`` if an input holds NaN or infinity.
NOT_FINITE = -9
#: ``MJ_ERR_DEVICE``: the GPU or its driver failed; ``mj_device_error`` says what.
DEVICE = -10

#: Names of ``mj_dtype`` values, in order.
DTYPE_NAMES = (
    "float32",
    "float16",
    "int8",
    "uint8",
    "int32",
    "int64",
    "uint16",
    "uint32",
    "int16",
)

#: ``mj_hook``: user pointer, kernel index, phase (0 before, 1 after).
HOOK = CFUNCTYPE(None, c_void_p, c_uint32, c_int)


class TensorDescriptor(Structure):
    """``mj_tensor``."""

    _fields_ = (
        ("name", c_char_p),
        ("dtype", c_int),
        ("rank", c_uint32),
        ("shape", POINTER(c_int32)),
        ("bytes", c_size_t),
        ("initial", c_int64),
    )


class DimDescriptor(Structure):
    """``mj_dim``."""

    _fields_ = (("name", c_char_p), ("min", c_int32), ("max", c_int32))


class ModelDescriptor(Structure):
    """``mj_model_desc``; what follows ``entry`` came later: programs with dimensions have it."""

    _fields_ = (
        ("abi_version", c_uint32),
        ("name", c_char_p),
        ("n_inputs", c_uint32),
        ("n_outputs", c_uint32),
        ("n_states", c_uint32),
        ("n_kernels", c_uint32),
        ("inputs", POINTER(TensorDescriptor)),
        ("outputs", POINTER(TensorDescriptor)),
        ("states", POINTER(TensorDescriptor)),
        ("kernels", POINTER(c_char_p)),
        ("weights_bytes", c_size_t),
        ("arena_bytes", c_size_t),
        ("workspace_offset", c_size_t),
        ("workspace_bytes", c_size_t),
        ("state_offset", c_size_t),
        ("state_bytes", c_size_t),
        ("delay", c_int32),
        ("entry", c_void_p),
        ("device", c_void_p),
        ("device_program", c_void_p),
        ("n_dims", c_uint32),
        ("dims", POINTER(DimDescriptor)),
        ("extent", c_void_p),
    )


_SIGNATURES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "mj_context_size": (c_size_t, ()),
    "mj_init": (c_int, (c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t)),
    "mj_run": (c_int, (c_void_p, c_void_p, c_void_p)),
    "mj_run_finite": (c_int, (c_void_p, c_void_p, c_void_p)),
    "mj_set_size": (c_int, (c_void_p, c_uint32, c_int64)),
    "mj_reset": (c_int, (c_void_p,)),
    "mj_set_threads": (c_int, (c_void_p, c_int)),
    "mj_threads": (c_int, (c_void_p,)),
    "mj_set_hook": (None, (c_void_p, c_void_p, c_void_p)),
    "mj_set_clock": (c_int, (c_void_p, c_void_p, POINTER(c_uint64))),
    "mj_failed_kernel": (c_int32, (c_void_p,)),
    "mj_deinit": (None, (c_void_p,)),
    "mj_status_string": (c_char_p, (c_int,)),
    "mj_device_error": (c_char_p, (c_void_p,)),
}

# came later: libraries of older bundles lack them
_OPTIONAL = frozenset({"mj_device_error", "mj_run_finite", "mj_set_size"})

_loaded: dict[bytes, ctypes.CDLL] = {}
_loading = threading.Lock()


def library(code: bytes) -> ctypes.CDLL:
    """The shared library whose file contents are ``code``, with the signatures of its functions.

    Raises:
        DeviceError: the system cannot load it.
        BundleError: it lacks a function of the ABI, or speaks another version of it.
    """
    key = hashlib.sha256(code).digest()
    with _loading:
        if key not in _loaded:
            _loaded[key] = _declare(_load(code))
        return _loaded[key]


def _load(code: bytes) -> ctypes.CDLL:
    try:
        if hasattr(os, "memfd_create"):
            return _load_from_memory(code)
        return _load_from_file(code)
    except OSError as error:
        raise DeviceError(
            f"this machine cannot load the program: {error}; run `mj doctor`, or rebuild the bundle"
            " for this machine"
        ) from error


def _load_from_memory(code: bytes) -> ctypes.CDLL:
    """Load by way of an anonymous file, so that a read-only system will do.

    The descriptor stays open for good: the loader tells libraries apart by path, and the number in
    ``/proc/self/fd/N`` must never come to mean another library.
    """
    try:
        descriptor = os.memfd_create("libmodel.so", os.MFD_CLOEXEC)
    except OSError:  # forbidden by a sandbox
        return _load_from_file(code)
    with open(descriptor, "wb", closefd=False) as stream:
        stream.write(code)
    try:
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    except OSError:
        os.close(descriptor)
        return _load_from_file(code)  # /proc not mounted, or memory files must not be executed


def _load_from_file(code: bytes) -> ctypes.CDLL:
    import tempfile  # rarely needed, and slow to import

    with tempfile.NamedTemporaryFile(prefix="millijoule-", suffix=".so") as stream:
        stream.write(code)
        stream.flush()
        return ctypes.CDLL(stream.name)


def _declare(loaded: ctypes.CDLL) -> ctypes.CDLL:
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(loaded, name)
        except AttributeError:
            if name in _OPTIONAL:
                continue
            raise BundleError(
                f"the program lacks the function {name}; rebuild the bundle"
            ) from None
        function.restype, function.argtypes = result, arguments
    try:
        version = c_uint32.in_dll(loaded, "mj_model").value
    except ValueError:
        raise BundleError("the program has no model in it (mj_model); rebuild the bundle") from None
    if version != ABI_VERSION:
        raise BundleError(
            f"the program speaks version {version} of the runtime ABI, this Millijoule"
            f" {ABI_VERSION}; rebuild the bundle"
        )
    return loaded
