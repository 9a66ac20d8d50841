"""C sources: strict compilers take them; here they compute what machine code does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

import millijoule as mj
from fixtures.microcontrollers import hosted, require_tools, unpack
from fixtures.models import LMUFORMER, Golden, golden_bundle
from millijoule.bundle import Bundle
from millijoule.targets.mcu.cores import FLAGS

Factory = pytest.TempPathFactory

SPIKING = next(golden for golden in LMUFORMER if golden.name == "lmuformer-spiking-ms-s")
PLAIN = next(golden for golden in LMUFORMER if golden.name == "lmuformer-plain-s")
CASES = [
    (SPIKING, ("--streaming",)),
    (SPIKING, ()),
    (SPIKING, ("--streaming", "--dtype", "int8")),
    (PLAIN, ("--streaming",)),
]
C_M4 = ("--target", "cortex-m4", "--emit", "c")


@pytest.mark.parametrize(("golden", "form"), CASES)
def test_same_results_as_machine_code(
    golden: Golden, form: tuple[str, ...], tmp_path: Path, tmp_path_factory: Factory
) -> None:
    """Spikes bit for bit; floats to rounding, as C has no fused multiply-add here."""
    require_tools()
    native = golden_bundle(tmp_path_factory, golden, *form)
    source = golden_bundle(tmp_path_factory, golden, *C_M4, *form)
    portable = hosted(source, native, tmp_path / "c.mjb")
    with mj.load(native) as want, mj.load(portable) as got:
        taps = [tap for tap in want.taps if tap.startswith("spikes:") and tap in got.taps]
        inputs, outputs = want.bundle.samples()
        first, second = want.run(inputs, taps), got.run(inputs, taps)
    assert bool(taps) == (golden is SPIKING)
    for name, value in first.items():
        if name in taps:
            np.testing.assert_array_equal(second[name], value, err_msg=name)
            assert value.any(), name
        else:
            np.testing.assert_allclose(second[name], value, rtol=0, atol=1e-5, err_msg=name)
            np.testing.assert_allclose(second[name], outputs[name], rtol=0, atol=2e-5)


@pytest.mark.parametrize("compiler", [("cc",), ("arm-none-eabi-gcc", *FLAGS["cortex-m4"])])
@pytest.mark.parametrize("flags", [(), ("-DMJ_BARE_METAL=1", "-DMJ_ALIGNMENT=16u")])
def test_strict_compilers_accept_every_file(
    compiler: tuple[str, ...], flags: tuple[str, ...], tmp_path: Path, tmp_path_factory: Factory
) -> None:
    require_tools()
    path = golden_bundle(tmp_path_factory, SPIKING, *C_M4, "--streaming")
    with Bundle.open(path) as bundle:
        folder = unpack(bundle, tmp_path) / "src"
        assert bundle.manifest.program.library == "program/src/kernels.c"
    sources = sorted(folder.glob("*.c"))
    assert {s.name for s in sources} >= {"kernels.c", "entry.c", "mj_runtime.c"}
    for source in sources:
        command = [*compiler, "-std=c11", "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror", *flags]
        subprocess.run([*command, "-c", source, "-o", tmp_path / "x.o"], check=True)
        text = source.read_text()
        assert "tvm/" not in text
        assert "TVM_DLL" not in text
        assert "llvm" not in text


def test_wrong_alignment_does_not_compile(tmp_path: Path, tmp_path_factory: Factory) -> None:
    require_tools()
    path = golden_bundle(tmp_path_factory, SPIKING, *C_M4, "--streaming")
    with Bundle.open(path) as bundle:
        entry = unpack(bundle, tmp_path) / "src" / "entry.c"
    command = ["cc", "-std=c11", "-DMJ_ALIGNMENT=8u", "-c", entry, "-o", tmp_path / "x.o"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "compile every file with -DMJ_ALIGNMENT=16u" in done.stderr
