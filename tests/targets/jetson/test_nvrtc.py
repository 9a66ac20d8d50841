"""The compiler: machine code for every GPU, resources as the assembler reports them, errors."""

from __future__ import annotations

import locale
from pathlib import Path

import pytest

from millijoule.errors import DeviceError
from millijoule.targets.jetson import nvrtc
from millijoule.targets.jetson.nvrtc import KernelResources, compile_cubin, read_resources

SOURCE = """
extern "C" __global__ void __launch_bounds__(256) turn(float* y, const float* x) {
  __shared__ float s[256];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[255 - threadIdx.x];
}
extern "C" __global__ void copy(float* y, const float* x) { y[threadIdx.x] = x[threadIdx.x]; }
"""


@pytest.mark.parametrize("sm", [72, 75, 80, 86, 87, 90, 110, 120])
def test_machine_code(sm: int) -> None:
    cubin = compile_cubin(SOURCE, sm)
    assert cubin.code.startswith(b"\x7fELF")
    assert cubin == compile_cubin(SOURCE, sm)  # the same bytes
    assert set(cubin.kernels) == {"turn", "copy"}
    assert cubin.kernels["turn"].shared == 1024
    assert 8 <= cubin.kernels["copy"].registers <= 32
    assert cubin.kernels["turn"].spills == 0
    assert cubin.kernels["turn"].occupancy(sm, 256).share == 1


@pytest.mark.parametrize("sm", [72, 87, 110])
def test_the_locale_stays(sm: int) -> None:
    before = locale.getpreferredencoding(False)
    compile_cubin(SOURCE, sm)
    assert locale.getpreferredencoding(False) == before


def test_the_report_of_the_assembler() -> None:
    log = """ptxas info    : Compiling entry function 'a' for 'sm_87'
ptxas info    : Function properties for a
ptxas         .     16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 1024 bytes smem, 372 bytes cmem[0]
ptxas info    : Compiling entry function 'b' for 'sm_87'
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, 372 bytes cmem[0]"""
    found = read_resources(log)
    assert found["a"] == KernelResources(255, 1024, 16, 8, 12)
    assert found["a"].spills == 20
    assert found["b"] == KernelResources(12, 0, 0, 0, 0)
    with pytest.raises(DeviceError, match="must report on a"):
        read_resources("Compiling entry function 'a' for 'sm_87'")


def test_source_that_does_not_compile() -> None:
    with pytest.raises(DeviceError, match=r"must compile.*identifier \"nothing\" is undefined"):
        compile_cubin('extern "C" __global__ void k() { nothing; }', 87)


def test_a_missing_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvrtc._library.cache_clear()
    monkeypatch.setattr(nvrtc.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError) as error:
        compile_cubin(SOURCE, 87)
    assert str(error.value) == (
        "[nvrtc] CUDA 12.6 must be installed to compile kernels, but nvidia-cuda-nvrtc-cu12 is "
        "missing; run: pip install 'millijoule[jetson]'"
    )
