"""Lowering to a plain object file: symbols, and workspace that is known beforehand."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets import toolchain
from millijoule.targets.cpu.lower import compile_object
from millijoule.targets.target import get_target


def reverse_through(buffers: int, floats: int) -> Any:
    """y = x reversed, by way of temporary buffers of ``floats`` elements each."""
    line = TensorType((floats,), "float32")
    with tir.kernel("reverse", [line], [line]) as k:
        x, y = k.buffers
        source = x
        for _ in range(buffers):
            temporary = T.alloc_buffer((floats,), "float32")
            with T.serial(0, floats) as i:
                tir.store(temporary, [i], source[floats - 1 - i])
            source = temporary
        with T.serial(0, floats) as i:
            tir.store(y, [i], source[floats - 1 - i])
    return k.func


@pytest.mark.parametrize(
    ("buffers", "floats", "workspace"),
    [(0, 1000, 0), (1, 100_000, 400_000), (2, 100_000, 800_000)],
)
def test_workspace_is_recorded(buffers: int, floats: int, workspace: int, tmp_path: Path) -> None:
    kernels = {"small": reverse_through(1, 8), "large": reverse_through(buffers, floats)}
    recorded = compile_object(kernels, get_target("host"), tmp_path / "k.o")
    # storage may be shared between temporaries, never forgotten
    assert workspace // max(buffers, 1) <= recorded <= workspace + 64 * buffers
    assert (recorded == 0) == (workspace == 0)


def test_the_runtime_serves_what_was_recorded(tmp_path: Path) -> None:
    """A kernel with temporaries computes in a program whose arena was planned from the record."""
    floats = 50_000
    kernel = reverse_through(2, floats)
    workspace = compile_object({"mjk_reverse": kernel}, get_target("host"), tmp_path / "k.o")
    source = tmp_path / "entry.c"
    source.write_text(
        '#include "mj_generated.h"\n'
        "int32_t mjk_reverse(void *, void *);\n"
        "static mj_status entry(mj_context *ctx, const void *const *in, void *const *out) {\n"
        "  MJ_CALL(ctx, 0u, mjk_reverse(MJ_INPUT(in, 0), out[0]));\n  return MJ_OK;\n}\n"
        f"static const int32_t shape[] = {{{floats}}};\n"
        f'static const mj_tensor t[] = {{{{"t", MJ_FLOAT32, 1u, shape, {4 * floats}u, -1}}}};\n'
        'static const char *const names[] = {"reverse"};\n'
        "const mj_model_desc mj_model = {.abi_version = MJ_ABI_VERSION, .n_inputs = 1u,\n"
        "  .n_outputs = 1u, .n_kernels = 1u, .inputs = t, .outputs = t, .kernels = names,\n"
        f"  .arena_bytes = {workspace}u, .workspace_bytes = {workspace}u,\n"
        f'  .state_offset = {workspace}u, .entry = entry, .name = "reverse"}};\n'
    )
    library = toolchain.link_shared(
        [tmp_path / "k.o"],
        [source, *toolchain.runtime_sources()],
        [toolchain.runtime_include()],
        tmp_path / "lib.so",
    )
    lib = ctypes.CDLL(str(library))
    lib.mj_workspace_peak.restype = lib.mj_context_size.restype = ctypes.c_size_t
    raw = np.zeros(workspace + 64, np.uint8)
    arena = ctypes.c_void_p(raw.ctypes.data + (-raw.ctypes.data) % 64)
    weights = ctypes.c_void_p(arena.value)
    context = ctypes.create_string_buffer(lib.mj_context_size())
    model = ctypes.byref(ctypes.c_char.in_dll(lib, "mj_model"))
    size = ctypes.c_size_t(workspace)
    assert lib.mj_init(context, model, weights, ctypes.c_size_t(0), arena, size) == 0
    x = np.arange(floats, dtype=np.float32)
    y = np.zeros_like(x)
    inputs, outputs = (ctypes.c_void_p * 1)(x.ctypes.data), (ctypes.c_void_p * 1)(y.ctypes.data)
    for _ in range(2):
        assert lib.mj_run(context, inputs, outputs) == 0
    np.testing.assert_array_equal(y, x[::-1])
    assert 0 < lib.mj_workspace_peak(context) <= workspace
