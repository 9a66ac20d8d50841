"""The emulated GPU itself: threads, barriers, warps, shared memory, on CUDA written for it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from millijoule.executors.cuda.compile import _compiler, compile_driver
from millijoule.executors.cuda.source import emulated_source

LAUNCH_FAILED = 719

SOURCE = """
#include <cuda.h>
extern "C" __global__ void __launch_bounds__(96) backwards(float* __restrict__ x, float* y) {
  __shared__ alignas(64) float all[96];
  all[(int)threadIdx.x] = x[(int)blockIdx.x * 96 + (int)threadIdx.x];
  __syncthreads();
  y[(int)blockIdx.x * 96 + (int)threadIdx.x] = all[95 - (int)threadIdx.x];
}
extern "C" __global__ void forgotten(float* x, float* y) {
  __shared__ float all[96];
  all[(int)threadIdx.x] = x[(int)blockIdx.x * 96 + (int)threadIdx.x];
  y[(int)blockIdx.x * 96 + (int)threadIdx.x] = all[95 - (int)threadIdx.x];
}
extern "C" __global__ void some(float* x, float* y) {
  if (threadIdx.x < 50) __syncthreads();
  y[threadIdx.x] = x[threadIdx.x];
}
extern "C" __global__ void different(float* x, float* y) {
  if (threadIdx.x < 16) __syncwarp(); else __syncthreads();
  y[threadIdx.x] = __shfl_sync(0xffffffffu, x[threadIdx.x], 3);
}
extern "C" __global__ void sums(float* x, float* y) {
  extern __shared__ __align__(1024) float partial[];
  float v = x[blockIdx.x * 96 + threadIdx.x];
  for (int by = 16; by > 0; by >>= 1) v += __shfl_xor_sync(0xffffffffu, v, by);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
  __syncthreads();
  y[blockIdx.x * 96 + threadIdx.x] = partial[0] + partial[1] + partial[2];
}
extern "C" __global__ void vectors(float* x, float* y) {
  float4 v = *(float4*)(x + 4 * threadIdx.x);
  *(float2*)(y + 2 * threadIdx.x) = make_float2(v.x + v.y, fma(v.z, v.w, 1.0f));
  atomicAdd(y + 64, (float)__popc(threadIdx.x));
}
__forceinline__ __device__ void mj_mma_b1_and(int* d, unsigned a0, unsigned a1, unsigned a2,
                                              unsigned a3, unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc ..." : "+r"(d[0]));
}
extern "C" __global__ void bits(unsigned* x, int* y) {
  int lane = threadIdx.x, row = lane / 4, word = lane % 4, d[4] = {0, 0, 0, 0};
  unsigned *a = x + 8 * row + word, *b = x + 128 + 8 * row + word;
  mj_mma_b1_and(d, a[0], a[64], a[4], a[68], b[0], b[4]);
  for (int r = 0; r < 4; r++) y[(row + 8 * (r / 2)) * 8 + 2 * word + r % 2] = d[r];
}
"""

Run = Callable[..., tuple[int, np.ndarray]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Launch a kernel by name on random numbers: the driver's status, and what it wrote."""
    folder = tmp_path_factory.mktemp("driver")
    driver = ctypes.CDLL(str(compile_driver(SOURCE, 87, folder, _compiler())))
    driver.cuInit(0)

    def launch(name: str, x: np.ndarray, blocks: int = 1, threads: int = 96, shared: int = 0):  # type: ignore[no-untyped-def]
        y = np.full(x.size, -1, np.float32)
        function = ctypes.c_void_p()
        assert driver.cuModuleGetFunction(ctypes.byref(function), None, name.encode()) == 0
        values = [ctypes.c_uint64(a.ctypes.data) for a in (x, y)]
        pointers = (ctypes.c_void_p * 2)(*(ctypes.addressof(v) for v in values))
        sizes = [blocks, 1, 1, threads, 1, 1, shared]
        status = driver.cuLaunchKernel(function, *sizes, None, pointers, None)
        return status, y

    return launch


def _numbers(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(count).astype(np.float32)


def test_shared_memory_and_a_barrier(run: Run) -> None:
    x = _numbers(5 * 96)
    status, y = run("backwards", x, blocks=5)
    assert status == 0
    np.testing.assert_array_equal(y.reshape(5, 96), x.reshape(5, 96)[:, ::-1])


def test_a_forgotten_barrier_shows(run: Run) -> None:
    """In every block some thread is in front of the one whose value it wants."""
    status, y = run("forgotten", _numbers(5 * 96), blocks=5)
    assert status == 0
    assert np.isnan(y.reshape(5, 96)).any(axis=1).all()


@pytest.mark.parametrize("name", ["some", "different"])
def test_a_barrier_that_not_all_reach(
    run: Run, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    status, _ = run(name, _numbers(96))
    assert status == LAUNCH_FAILED
    assert f"kernel {name}: " in capfd.readouterr().err
    status, _ = run("backwards", _numbers(96))
    assert status == 0  # the next launch is none the worse


def test_warps_exchange_values(run: Run) -> None:
    x = _numbers(3 * 96)
    status, y = run("sums", x, blocks=3, shared=12)
    assert status == 0
    np.testing.assert_allclose(
        y.reshape(3, 96), x.reshape(3, 96).sum(1)[:, None] + 0 * y.reshape(3, 96), atol=1e-5
    )


def test_vectors_and_builtins(run: Run) -> None:
    x = _numbers(128)
    status, y = run("vectors", x, threads=32)
    assert status == 0
    v = x.reshape(32, 4)
    np.testing.assert_allclose(y[:64:2], v[:, 0] + v[:, 1], rtol=1e-6)
    np.testing.assert_allclose(y[1:64:2], v[:, 2] * v[:, 3] + 1, rtol=1e-5, atol=1e-6)
    assert y[64] == -1 + sum(bin(i).count("1") for i in range(32))


def test_one_bit_products_of_a_warp(run: Run) -> None:
    """[16, 256] × [8, 256] of bits, A & B counted, by the fragments of PTX."""
    words = np.random.default_rng(0).integers(0, 1 << 32, 24 * 8, np.uint32)
    status, y = run("bits", words.view(np.float32), threads=32)
    assert status == 0
    bits = np.unpackbits(words.view(np.uint8).reshape(24, 32), axis=1).astype(np.int32)
    np.testing.assert_array_equal(y.view(np.int32)[:128].reshape(16, 8), bits[:16] @ bits[16:].T)


def test_too_many_threads(run: Run) -> None:
    assert run("backwards", _numbers(96), threads=1025)[0] == LAUNCH_FAILED


def test_source_is_plain_cpp() -> None:
    text = emulated_source(SOURCE)
    assert "#include <" not in text
    assert 'alignas(64) static MJ_SECTION("backwards") float all[96];' in text
    assert "float *partial = (float *)mj_dynamic_shared;" in text
    assert "asm" not in text
    assert text.count("MJ_ENTRY(") == 7
    assert emulated_source("").count("MJ_ENTRY(") == 0


def test_a_compiler_that_fails_says_where(tmp_path: Path) -> None:
    from millijoule.errors import DeviceError

    with pytest.raises(DeviceError, match=r"cannot compile the program: .*error"):
        compile_driver('extern "C" __global__ void k(float* x) { x[0] = y; }', 87, tmp_path, ["cc"])
