"""Golden models, cross-compiled for ARM Linux and run on emulated cores: the host's results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.devices import require
from fixtures.models import LMUFORMER, STREAMABLE, Golden, golden_bundle
from millijoule.cli import main
from millijoule.converters.source import read_folder

STREAMS = tuple(g for g in LMUFORMER if read_folder(g.path).variant in STREAMABLE)
OTHER_CORES = ("cortex-a53", "cortex-a76", "cortex-a78ae", "armv7")


def run(bundle: Path, golden: Golden, out: Path, *options: str) -> dict[str, np.ndarray]:
    """``mj run`` on the golden inputs: everything that it writes."""
    inputs = str(golden.path / "inputs.npz")
    arguments = ["run", str(bundle), "--inputs", inputs, "--outputs", str(out), "--quiet"]
    assert main([*arguments, "--taps", "all", *options]) == 0
    return dict(np.load(out))


def check_against_host(
    core: str, golden: Golden, form: tuple[str, ...], tmp_path: Path, tmp: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    """Integers, hence spikes, are the host's; floats differ by the rounding of their sums.

    Returns what the core gave.
    """
    require(f"qemu:{core}")
    bundle = golden_bundle(tmp, golden, "--target", core, *form)
    got = run(bundle, golden, tmp_path / "device.npz", "--device", f"qemu:{core}")
    host = run(golden_bundle(tmp, golden, *form), golden, tmp_path / "host.npz")
    assert got.keys() == host.keys()
    for name, expected in host.items():
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(got[name], expected, rtol=0, atol=2e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], expected, name)
    return got


def check_against_authors(got: dict[str, np.ndarray], golden: Golden) -> None:
    """The authors' logits and every one of their spikes."""
    np.testing.assert_allclose(got["logits"], golden.outputs["logits"], rtol=0, atol=1e-5)
    for name, expected in golden.spikes().items():
        np.testing.assert_array_equal(got[name].reshape(expected.shape), expected, name)


@pytest.mark.parametrize("golden", LMUFORMER, ids=lambda golden: golden.name)
def test_whole_sequence(
    golden: Golden, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    got = check_against_host("cortex-a72", golden, (), tmp_path, tmp_path_factory)
    check_against_authors(got, golden)


@pytest.mark.parametrize("golden", STREAMS, ids=lambda golden: golden.name)
def test_stream(golden: Golden, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    got = check_against_host("cortex-a72", golden, ("--streaming",), tmp_path, tmp_path_factory)
    np.testing.assert_allclose(got["logits"], golden.outputs["logits"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("core", OTHER_CORES)
def test_other_cores(core: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    golden = LMUFORMER[1]
    got = check_against_host(core, golden, (), tmp_path, tmp_path_factory)
    check_against_authors(got, golden)
    check_against_host(core, golden, ("--streaming",), tmp_path, tmp_path_factory)


@pytest.mark.parametrize("core", ["cortex-a72", "cortex-a76", "armv7"])
@pytest.mark.parametrize("golden", LMUFORMER[:2], ids=lambda golden: golden.name)
def test_int8(core: str, golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Widened products, dot products, the 32-bit NEON: the sums of the naive integer program."""
    require(f"qemu:{core}")
    bundle = golden_bundle(tmp_path_factory, golden, "--target", core, "--dtype", "int8")
    assert main(["verify", str(bundle), "--device", f"qemu:{core}", "--quiet"]) == 0
