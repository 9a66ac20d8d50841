"""The SDK on a clean ARM Linux: Debian's Python and NumPy, cross-compiled bundles, nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fixtures.debian_root import ARM64, ARMHF, Architecture, DebianRoot, debian_root
from fixtures.devices import require
from fixtures.models import LMUFORMER, golden_bundle
from fixtures.shared import shared
from millijoule.cli import main

GOLDEN = LMUFORMER[1]
CORES = {"cortex-a72": (ARM64, "cortex-a72"), "armv7": (ARMHF, "cortex-a7")}
FORMS = pytest.mark.parametrize("form", [(), ("--streaming",)], ids=["whole", "streaming"])
RECORDING = Path(__file__).parents[2] / "converters/zoo/kws_digits/recordings/seven.wav"


def root_for(target: str, factory: pytest.TempPathFactory) -> tuple[DebianRoot, str]:
    """The root in which bundles for ``target`` run, and QEMU's name of the processor."""
    arch, cpu = CORES[target]
    return debian_root(factory, arch), cpu


def put_bundle(
    root: DebianRoot, target: str, factory: pytest.TempPathFactory, *form: str
) -> tuple[str, Path]:
    """A golden bundle: its name in the root, and the same model's bundle for this machine."""
    bundle = golden_bundle(factory, GOLDEN, "--target", target, *form)
    return root.put(bundle), golden_bundle(factory, GOLDEN, *form)


@pytest.mark.parametrize("arch", [ARM64, ARMHF], ids=lambda arch: arch.debian)
def test_only_numpy_is_there(arch: Architecture, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = debian_root(tmp_path_factory, arch)
    heavy = "('torch', 'tvm', 'rich', 'jinja2', 'millijoule.targets', 'millijoule.converters')"
    code = (
        f"import numpy, importlib.util as u, struct; print([m for m in {heavy} if u.find_spec(m)]"
    )
    done = root.python(["-c", f"{code}, 8 * struct.calcsize('P'))"], "max")
    assert done.stdout.split() == ["[]", "64" if arch is ARM64 else "32"], done.stderr


@FORMS
@pytest.mark.parametrize("target", CORES)
def test_run_gives_the_hosts_results(
    target: str, form: tuple[str, ...], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, cpu = root_for(target, tmp_path_factory)
    bundle, own = put_bundle(root, target, tmp_path_factory, *form)
    inputs = GOLDEN.path / "inputs.npz"
    out = f"/srv/out-{target}{''.join(form)}.npz"
    files = ("--inputs", root.put(inputs), "--outputs", out, "--taps", "all")
    done = root.mj("run", bundle, *files, cpu=cpu)
    assert done.returncode == 0, done.stderr
    got = dict(np.load(root.path / out.removeprefix("/")))
    host = tmp_path / "host.npz"
    arguments = ["run", str(own), "--inputs", str(inputs), "--outputs", str(host), "--taps", "all"]
    assert main([*arguments, "--quiet"]) == 0
    expected = dict(np.load(host))
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        exact = value.dtype.kind != "f"  # spikes; the others' sums are rounded in another order
        np.testing.assert_allclose(got[name], value, rtol=0, atol=0 if exact else 2e-5)


@pytest.mark.parametrize("target", CORES)
def test_verify(target: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root, cpu = root_for(target, tmp_path_factory)
    bundle, _ = put_bundle(root, target, tmp_path_factory)
    done = root.mj("verify", bundle, cpu=cpu)
    assert done.returncode == 0, done.stderr
    assert "logits" in done.stdout
    assert "fail" not in done.stdout


@pytest.mark.parametrize("target", CORES)
def test_profile_works_and_says_that_the_processor_is_emulated(
    target: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, cpu = root_for(target, tmp_path_factory)
    bundle, _ = put_bundle(root, target, tmp_path_factory)
    out = f"/srv/profile-{target}.json"
    short = ("--iterations", "3", "--warmup", "1", "--duration", "0.1")
    done = root.mj("profile", bundle, *short, "--layers", "--json", out, cpu=cpu)
    assert done.returncode == 0, done.stderr
    profile = json.loads((root.path / out.removeprefix("/")).read_text())
    assert profile["conditions"]["cpu_model"].startswith("emulated a")
    assert "this processor is emulated" in done.stdout + done.stderr
    assert "patch_embed.proj_conv" in done.stdout


def test_a_core_without_the_instructions_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """By the processor that is emulated, not by the one that emulates."""
    root, cpu = root_for("cortex-a72", tmp_path_factory)
    bundle, _ = put_bundle(root, "cortex-a76", tmp_path_factory)
    done = root.mj("verify", bundle, cpu=cpu)
    assert done.returncode == 4
    assert "cortex-a76 and needs dotprod, fullfp16" in done.stderr
    assert root.mj("verify", bundle, cpu="cortex-a76").returncode == 0


def test_a_spoken_digit(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A recording through the front end and the streaming model, as on a Raspberry Pi."""
    require("qemu-aarch64")
    root, cpu = root_for("cortex-a72", tmp_path_factory)
    options = ("--target", "cortex-a72", "--streaming", "--quiet")

    def make(path: Path) -> None:
        assert main(["build", "kws-digits", *options, "-o", str(path)]) == 0

    bundle = root.put(shared(tmp_path_factory, "kws-digits-cortex-a72.mjb", make))
    done = root.mj("run", bundle, "--inputs", root.put(RECORDING), cpu=cpu)
    assert done.returncode == 0, done.stderr
    assert "seven" in done.stdout
