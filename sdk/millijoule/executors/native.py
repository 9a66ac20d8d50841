"""Static AOT programs: machine code in a shared library, called through ctypes.

The library is machine code and is trusted as far as its checksum: that it is what the author of the
bundle built. Open bundles from people you would run a program of. What can be compared is compared:
the descriptor inside the library must say what the manifest says, before anything runs.
"""

from __future__ import annotations

import ctypes
import math
import operator
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..bundle import Bundle, KernelOutput, Manifest, StateSpec, TensorSpec
from ..cpu import architecture, missing_features, same_architecture
from ..errors import BundleError, DeviceError, UsageError
from ..shapes import Shapes
from ..sizes import Dim
from .abi import DEVICE, DTYPE_NAMES, HOOK, NOT_FINITE, ModelDescriptor, TensorDescriptor, library
from .base import ALIGNMENT, aligned_empty, failure, look_and_run

__all__ = ["NativeProgram"]

_MAX_THREADS = 1024


class NativeProgram:
    """A loaded static AOT program; see :class:`millijoule.executors.base.Program`."""

    times_kernels = True

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._manifest = manifest = bundle.manifest
        self._lib = lib = self._load(bundle)
        model = ModelDescriptor.in_dll(lib, "mj_model")
        weights = bundle.mmap(manifest.program.weights)
        _check_descriptor(model, manifest)
        self._weights = weights  # keeps the mapping alive
        self._arena = _arena(max(manifest.arena.bytes, 1))
        self._context = aligned_empty((lib.mj_context_size(),), "uint8")
        self._ctx = ctypes.c_void_p(self._context.ctypes.data)
        self._input_pointers = (ctypes.c_void_p * max(len(manifest.inputs), 1))()
        self._output_pointers = (ctypes.c_void_p * max(len(manifest.outputs), 1))()
        self._run, self._run_finite = _untyped(lib, "mj_run"), _untyped(lib, "mj_run_finite")
        self._run_arguments = (
            ctypes.byref(ctypes.c_char.from_address(self._context.ctypes.data)),
            ctypes.byref(self._input_pointers),
            ctypes.byref(self._output_pointers),
        )
        self._bound_inputs: tuple[np.ndarray, ...] | None = None
        self._bound_outputs: tuple[np.ndarray, ...] | None = None
        self._shapes, self._sizes = Shapes(manifest), {d.name: d.max for d in manifest.dims}
        self._taps = {tap.name: (index, tap) for index, tap in manifest.taps()}
        self._ticks: np.ndarray = np.zeros(len(manifest.kernels), np.uint64)
        self._model = ctypes.addressof(model)
        status = self._init(weights)
        self._check(status, "cannot start the program")
        # Stops the threads when the program is closed, or forgotten without being closed.
        self._finalizer = weakref.finalize(self, _deinit, lib, self._context, self._arena, weights)
        self._open = True
        self.set_threads(threads)

    def _load(self, bundle: Bundle) -> ctypes.CDLL:
        """The library of ``bundle``, in memory."""
        _check_machine(bundle.manifest)
        return library(bundle.read(bundle.manifest.program.library))

    def _init(self, weights: np.ndarray) -> int:
        """Start the program; the status of ``mj_init``."""
        arena = self._arena
        status: int = self._lib.mj_init(
            self._ctx,
            self._model,
            weights.ctypes.data,
            weights.size,
            arena.ctypes.data,
            arena.size,
        )
        return status

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Run once; see :meth:`Program.run`."""
        self._require_open()
        # Checking arrays and taking their addresses costs as much as a small model's step, so the
        # very tuples of last time, whose arrays needed no stand-in, stay bound.
        if inputs is not self._bound_inputs or outputs is not self._bound_outputs:
            self._bound_inputs = self._bound_outputs = None
            self._set_sizes(inputs)
            sources = self._bind(self._manifest.inputs, inputs, self._input_pointers, copy=True)
            sinks = self._bind(self._manifest.outputs, outputs, self._output_pointers, copy=False)
            if not (_same(sources, inputs) and _same(sinks, outputs)):
                self._call()
                for sink, output in zip(sinks, outputs, strict=True):
                    if sink is not output:
                        output[...] = sink
                return
            if isinstance(inputs, tuple) and isinstance(outputs, tuple):
                self._bound_inputs, self._bound_outputs = inputs, outputs
        self._call()

    def run_finite(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> bool:
        """Run once if inputs are finite; see :data:`millijoule.executors.base.RunFinite`."""
        bound = inputs is self._bound_inputs and outputs is self._bound_outputs
        if not bound or self._run_finite is None:
            return look_and_run(self, inputs, outputs)  # which binds them for the next time
        status = self._run_finite(*self._run_arguments)
        if status == NOT_FINITE:
            return False
        if status != 0:
            self._check(status, "the program failed")
        return True

    def _set_sizes(self, inputs: Sequence[np.ndarray]) -> None:
        """Tell the program the sizes that ``inputs`` have."""
        if not self._shapes.dims:
            return
        self._sizes = self._shapes.sizes(inputs)
        for index, name in enumerate(self._shapes.dims):
            status = self._lib.mj_set_size(self._ctx, index, self._sizes[name])
            self._check(status, f"cannot set the size of {name} to {self._sizes[name]}")

    def _call(self) -> None:
        status = self._run(*self._run_arguments)
        if status != 0:
            self._check(status, "the program failed")

    def run_tapped(
        self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], taps: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Run once and copy kernel outputs; see :meth:`Program.run_tapped`."""
        wanted: dict[int, list[KernelOutput]] = {}
        for name in taps:
            if name not in self._taps:
                valid = ", ".join(str(tap) for tap in self._taps) or "none in this program"
                raise UsageError(f"unknown tap {name!r}; taps: {valid}")
            index, tap = self._taps[name]
            wanted.setdefault(index, []).append(tap)
        values: dict[str, np.ndarray] = {}

        def copy_taps(_: int | None, index: int, phase: int) -> None:
            if phase == 1:
                for tap in wanted.get(index, ()):
                    values[str(tap.name)] = self._view(tap).copy()

        hook = HOOK(copy_taps)
        self._lib.mj_set_hook(self._ctx, ctypes.cast(hook, ctypes.c_void_p), None)
        try:
            self.run(inputs, outputs)
        finally:
            self._lib.mj_set_hook(self._ctx, None, None)
        return {name: values[name] for name in taps}

    def reset(self) -> None:
        """Put every state back to its initial value."""
        self._require_open()
        self._check(self._lib.mj_reset(self._ctx), "cannot reset the program")

    def set_threads(self, threads: int) -> None:
        """Use ``threads`` threads; see :meth:`Program.set_threads`."""
        self._require_open()
        if not 1 <= threads <= _MAX_THREADS:
            raise UsageError(f"threads must be 1 to {_MAX_THREADS}, but received {threads}")
        self._check(self._lib.mj_set_threads(self._ctx, threads), f"cannot use {threads} threads")

    def kernel_times(self, on: bool) -> None:
        """Turn timing per kernel on (from zero) or off."""
        self._require_open()
        self.clear_kernel_ns()
        pointer = self._ticks.ctypes.data_as(ctypes.POINTER(ctypes.c_uint64)) if on else None
        self._check(self._lib.mj_set_clock(self._ctx, None, pointer), "cannot time kernels")

    def kernel_ns(self) -> np.ndarray:
        """Nanoseconds per kernel, a copy; see :meth:`Program.kernel_ns`."""
        return self._ticks.copy()

    def clear_kernel_ns(self) -> None:
        """Set the times per kernel back to zero."""
        self._ticks[:] = 0

    def close(self) -> None:
        """Stop threads; may be called again."""
        self._open = False
        self._bound_inputs = self._bound_outputs = None  # so that run_finite need not ask
        self._finalizer()

    def _require_open(self) -> None:
        if not self._open:
            raise UsageError("the program is closed; load the bundle again")

    def _bind(
        self,
        specs: Sequence[TensorSpec],
        arrays: Sequence[np.ndarray],
        pointers: ctypes.Array[ctypes.c_void_p],
        copy: bool,
    ) -> list[np.ndarray]:
        """Set ``pointers`` to ``arrays`` or to aligned stand-ins, which hold a copy if ``copy``."""
        if len(arrays) != len(specs):
            raise UsageError(f"the program takes {len(specs)} arrays, but received {len(arrays)}")
        bound = []
        for index, (spec, array) in enumerate(zip(specs, arrays, strict=True)):
            shape = self._shapes.of(spec, self._sizes)
            if array.shape != shape or array.dtype != spec.dtype:
                raise UsageError(
                    f"[{spec.name}] must be {spec.dtype} of shape {list(shape)}, but received"
                    f" {array.dtype} of shape {list(array.shape)}"
                )
            address = array.ctypes.data
            if address % ALIGNMENT or not array.flags.c_contiguous:
                stand_in = aligned_empty(shape, spec.dtype)
                if copy:
                    stand_in[...] = array
                array, address = stand_in, stand_in.ctypes.data
            pointers[index] = address
            bound.append(array)
        return bound

    def _view(self, tap: KernelOutput) -> np.ndarray:
        """The bytes of ``tap`` in the arena, as an array."""
        start = tap.offset or 0
        shape = self._shapes.of(tap, self._sizes)
        size = math.prod(shape) * np.dtype(tap.dtype).itemsize
        return self._arena[start : start + size].view(tap.dtype).reshape(shape)

    def _check(self, status: int, what: str) -> None:
        if status == 0:
            return
        reason = self._lib.mj_status_string(status).decode("ascii", "replace")
        if status == DEVICE:
            reason = self._lib.mj_device_error(self._model).decode("ascii", "replace") or reason
        failed = self._lib.mj_failed_kernel(self._ctx)
        raise DeviceError(failure(self._manifest, what, reason, failed))


def _untyped(lib: ctypes.CDLL, name: str) -> Any:
    """Function ``name`` without declared argument types, or None if the library lacks it.

    Called with references made once, ctypes then has nothing to convert or check: half the time of
    a call with pointers as integers. ``lib.name`` is another object, shared, and has its types.
    """
    try:
        function = lib[name]
    except AttributeError:
        return None
    function.restype = ctypes.c_int
    return function


def _same(arrays: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    """Whether both hold the very same objects."""
    return len(arrays) == len(others) and all(map(operator.is_, arrays, others))


def _arena(size: int) -> np.ndarray:
    try:
        return aligned_empty((size,), "uint8")
    except MemoryError:
        raise DeviceError(
            f"the program needs an arena of {size:,} bytes, more than this machine gives; use a"
            " smaller model or batch"
        ) from None


def _deinit(lib: ctypes.CDLL, context: np.ndarray, *_keep_alive: np.ndarray) -> None:
    lib.mj_deinit(context.ctypes.data)


def _check_machine(manifest: Manifest) -> None:
    """Refuse a program that would die of an illegal instruction here."""
    target = manifest.target
    advice = "; build it with the target `host`, or take it to its device (see `mj devices`)"
    if not same_architecture(target.triple):
        raise DeviceError(
            f"the bundle is for {target.name} ({target.triple}), but this machine is"
            f" {architecture()}{advice}"
        )
    missing = missing_features(target.features, target.cpu)
    if missing:
        raise DeviceError(
            f"the bundle is for {target.name} and needs {', '.join(missing)}, which this processor"
            f" lacks{advice}"
        )


def _check_descriptor(model: ModelDescriptor, manifest: Manifest) -> None:
    """The library must be built for just this manifest."""
    states = manifest.streaming.states if manifest.streaming else ()
    lists: tuple[tuple[str, int, Any, Sequence[TensorSpec | StateSpec]], ...] = (
        ("inputs", model.n_inputs, model.inputs, manifest.inputs),
        ("outputs", model.n_outputs, model.outputs, manifest.outputs),
        ("states", model.n_states, model.states, states),
    )
    for kind, count, tensors, specs in lists:
        if count != len(specs):
            raise BundleError(f"the program has {count} {kind}, but the manifest says {len(specs)}")
        for index, spec in enumerate(specs):
            _check_tensor(tensors[index], spec, kind)
    for index, dim in enumerate(manifest.dims):
        _check_dim(model, index, dim)
    arena = manifest.arena
    for name, found, said in (
        ("abi", model.abi_version, manifest.program.abi),
        ("kernels", model.n_kernels, len(manifest.kernels)),
        ("arena.bytes", model.arena_bytes, arena.bytes),
        ("arena.workspace_bytes", model.workspace_bytes, arena.workspace_bytes),
        ("arena.state_bytes", model.state_bytes, arena.state_bytes),
        ("streaming.delay", model.delay, manifest.streaming.delay if manifest.streaming else 0),
    ):
        if found != said:
            raise BundleError(f"the program says {name} is {found}, but the manifest says {said}")


def _check_dim(model: ModelDescriptor, index: int, dim: Dim) -> None:
    """The library must have the dimension with the bounds that the manifest says."""
    if index < model.n_dims:
        found = model.dims[index]
        name = (found.name or b"").decode("utf-8", "replace")
        if (name, found.min, found.max) == (dim.name, dim.min, dim.max):
            return
    raise BundleError(f"the program has no dimension {dim}, but the manifest says it has")


def _check_tensor(tensor: TensorDescriptor, spec: TensorSpec | StateSpec, kind: str) -> None:
    name = (tensor.name or b"").decode("utf-8", "replace")
    dtype = DTYPE_NAMES[tensor.dtype] if 0 <= tensor.dtype < len(DTYPE_NAMES) else "?"
    shape = tuple(tensor.shape[: min(tensor.rank, 32)]) if tensor.rank else ()
    if (name, dtype, shape, tensor.bytes) != (spec.name, spec.dtype, spec.shape, spec.nbytes):
        raise BundleError(
            f"{kind}: the program has {name!r} ({dtype}, shape {list(shape)}), but the manifest"
            f" says {spec.name!r} ({spec.dtype}, shape {list(spec.shape)})"
        )
