"""Profiles, counts and listings of programs whose sizes vary: all of them are of stated sizes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import millijoule as mj
from fixtures.devices import require
from fixtures.dynamic import LONGEST, Images, dynamic_encoder, encoder, token_tensors, tokens
from fixtures.shared import shared
from millijoule import Dim
from millijoule.bundle import Bundle, Manifest
from millijoule.cli import main
from millijoule.errors import BundleError, UsageError
from millijoule.shapes import at_sizes
from millijoule.verification import verify

FAST = ("--iterations", "1", "--warmup", "0", "--duration", "0", "--energy", "off")
COUNTS = ("multiplies", "adds", "bytes_read", "bytes_written")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, "dynamic-encoder.mjb", dynamic_encoder)


def profiled(bundle: Path, out: Path, *options: str) -> dict[str, Any]:
    """``mj profile`` as JSON."""
    brief = () if "--device" in options else FAST
    assert main(["profile", str(bundle), *brief, "--quiet", "--json", str(out), *options]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def by_op(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """Sums of the counts of every kernel of ours."""
    sums: dict[str, Counter[str]] = {}
    for kernel in manifest.kernels:
        if kernel.op in ("linear", "attention", "layer_norm"):
            sums.setdefault(kernel.op, Counter()).update({n: getattr(kernel, n) for n in COUNTS})
    return {op: tuple(found[n] for n in COUNTS) for op, found in sums.items()}


def test_counts_are_those_of_a_program_of_that_size(bundle: Path, tmp_path: Path) -> None:
    mj.build(
        mj.convert(encoder(), example_inputs=token_tensors(17)), out=tmp_path / "17.mjb"
    ).close()
    with Bundle.open(bundle) as dynamic, Bundle.open(tmp_path / "17.mjb") as fixed:
        assert by_op(at_sizes(dynamic.manifest, {"seq": 17})) == by_op(fixed.manifest)
        largest = at_sizes(dynamic.manifest, {"seq": LONGEST})
        assert by_op(largest) == by_op(dynamic.manifest)
        tap = next(t for _, t in at_sizes(dynamic.manifest, {"seq": 9}).taps())
        assert 9 in tap.shape
        assert at_sizes(fixed.manifest, {}) is fixed.manifest


def test_the_sizes_of_a_profile(bundle: Path, tmp_path: Path) -> None:
    sample = profiled(bundle, tmp_path / "a.json")
    small = profiled(bundle, tmp_path / "b.json", "--size", "seq=9")
    assert (sample["sizes"], small["sizes"]) == ({"seq": 24}, {"seq": 9})
    assert small["unit"] == "one program call, batch 1, seq=9"
    with Bundle.open(bundle) as opened:
        kernels = at_sizes(opened.manifest, {"seq": 9}).kernels
    totals = small["operations"]["totals"]
    assert totals["multiplies"] == sum(kernel.multiplies for kernel in kernels)
    assert totals["macs"] < 0.5 * sample["operations"]["totals"]["macs"]
    costs = [p["energy"]["estimated"][0]["compute_mj"]["value"] for p in (small, sample)]
    assert costs[0] < 0.5 * costs[1]
    assert sample["operations"]["published_macs"]
    assert not small["operations"]["published_macs"]  # known of the sample's size only
    with pytest.raises(UsageError, match=r"unit of work must be the same, but is .*seq=9 now"):
        mj.profiling.compare(small, sample)


def test_several_sizes_make_one_table(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "p.html"
    options = ("--size", "seq=1,24,70", "--html", str(page), "--no-layers")
    assert main(["profile", str(bundle), *FAST, *options]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("seq=")]
    assert [line.split()[0] for line in lines] == ["seq=1", "seq=24", "seq=70"]
    assert "one program call, batch 1, seq=70" in page.read_text()
    found = profiled(bundle, tmp_path / "p.json", *options[:2])
    assert [p["sizes"]["seq"] for p in found["profiles"]] == [1, 24, 70]


def test_profiling_in_python(bundle: Path) -> None:
    brief: dict[str, Any] = {"iterations": 1, "warmup": 0, "duration": 0, "energy": "off"}
    with mj.load(bundle) as session:
        given = tokens(np.random.default_rng(0), 2, 33)
        assert mj.profile(session, given, **brief).to_dict()["sizes"] == {"seq": 33}
        for sizes, message in (
            ({"seq": 71}, "seq must be 1 to 70, but is 71"),
            ({"n": 1}, r"'n' is no dimension of the bundle, which has seq=1\.\.70"),
            ({"seq": 2.5}, "seq must be an integer"),
        ):
            with pytest.raises(UsageError, match=message):
                mj.profile(session, sizes=sizes, **brief)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="inputs have sizes of their own"):
            mj.profile(session, given, sizes={"seq": 9}, **brief)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "seq"], "must be NAME=SIZE"),
        (["--size", "seq=1", "--size", "seq=2"], "a dimension may be given once"),
        (["--size", "seq=1,2", "--trace", "t"], "--trace takes one profile"),
        (["--size", "seq=" + ",".join("1" * 65)], "at most 64 combinations"),
        (["--size", "seq=999"], "must be 1 to 70"),
    ],
)
def test_bad_sizes(
    options: list[str], message: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(bundle), *FAST, *options]) == 2
    assert message in capsys.readouterr().err


def test_inspect_and_verify_say_sizes(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "i.json"
    assert main(["inspect", str(bundle), "--size", "seq=9", "--json", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "1 to 70, sample 24" in shown
    assert "operations and bytes of kernels are those of seq=9" in shown
    found = json.loads(out.read_text())
    with Bundle.open(bundle) as opened:
        kernels = at_sizes(opened.manifest, {"seq": 9}).kernels
    assert found["totals"]["multiplies"] == sum(kernel.multiplies for kernel in kernels)
    assert (found["totals_at"], found["sample_sizes"]) == ({"seq": 9}, {"seq": 24})
    assert main(["verify", str(bundle)]) == 0
    shown = capsys.readouterr().out
    assert all(f"seq={steps}" in shown for steps in (1, 24, LONGEST))


def test_a_batch_that_varies_is_profiled_as_one_call(tmp_path: Path) -> None:
    model = mj.convert(
        Images().eval(), example_inputs=images(2), dynamic={"x": {0: Dim("batch", 1, 6)}}
    )
    mj.build(model, out=tmp_path / "images.mjb").close()
    found = profiled(tmp_path / "images.mjb", tmp_path / "p.json", "--size", "batch=4")
    assert found["unit"] == "one program call, batch 4"
    one = profiled(tmp_path / "images.mjb", tmp_path / "p.json", "--size", "batch=1")
    macs = [p["operations"]["totals"]["macs"] for p in (one, found)]
    assert macs[1] == 4 * macs[0]
    assert found["operations"]["published_macs"] == one["operations"]["published_macs"]  # per image


def images(rows: int) -> torch.Tensor:
    """Images for `Images`."""

    return torch.randn(rows, 3, 20, 20, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adds": "seq+"}, "adds of kernel .*: '' is no product of sizes"),
        ({"adds": "7*seq"}, r"has at most \d+ adds, but 7\*seq is 7 to 490"),
        ({"adds": "other"}, "'other' is no dimension"),
        ({"weight_bytes": "seq"}, "unknown field 'weight_bytes'"),
    ],
)
def test_hostile_counts(change: dict[str, str], message: str, bundle: Path) -> None:
    with Bundle.open(bundle) as opened:
        document = json.loads(opened.manifest.to_bytes())
    document["kernels"][1]["sizes"] = change
    with pytest.raises(BundleError, match=message) as error:
        Manifest.from_json(document)
    assert "\n" not in str(error.value)


def test_an_emulated_device_runs_any_size(tmp_path: Path) -> None:
    require("qemu:cortex-a72")
    path = tmp_path / "arm.mjb"
    dynamic_encoder(path, target="cortex-a72")
    module = encoder()
    with mj.load(path, device="qemu:cortex-a72", threads=2) as session:
        assert all(check.passed for check in verify(session))
        tap = next(name for name in session.taps if name == "layers.0.up")
        for steps in (1, 15, 16, 17, 64, 65, LONGEST, 3):
            given = tokens(np.random.default_rng(steps), 1, steps)
            got = session.run(given, [tap])
            for name, y in module(*token_tensors(steps, seed=steps)).items():
                want = y.detach().numpy()
                np.testing.assert_allclose(got[name], want, rtol=0, atol=5e-6, err_msg=name)
            assert got[tap].shape[-2:] == (steps, 64)
        with pytest.raises(UsageError, match="must have 1 to 70 elements, but received 71"):
            session.run(tokens(np.random.default_rng(0), 1, 71))
    device = ("--device", "qemu:cortex-a72")
    counted = [
        profiled(path, tmp_path / "p.json", *device, "--size", f"seq={n}")["instructions"]
        for n in (16, 64)
    ]
    ratio = counted[1]["per_call"] / counted[0]["per_call"]
    assert 3 < ratio < 6  # layers are linear in the length, attention is quadratic
