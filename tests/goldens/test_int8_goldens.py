"""Every variant of LMUFormer in int8: the scheduled program is the naive one, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import millijoule as mj
from fixtures.bundles import assert_same_bytes
from fixtures.models import LMUFORMER, STREAMABLE, Golden, golden_bundle, random_folder
from fixtures.shared import shared
from millijoule.cli import main
from millijoule.converters.source import read_folder
from millijoule.verification import verify

INT8 = ("--dtype", "int8")
STREAMS = tuple(g for g in LMUFORMER if read_folder(g.path).variant in STREAMABLE)
SPIKING = tuple(g for g in LMUFORMER if "plain" not in g.name)
# elsewhere W_h is folded into the memory of a whole sequence: other weights are rounded
SAME_IN_STREAMS = tuple(g for g in STREAMS if g in SPIKING and "psmnist" not in g.name)
FORMS = [(g, ()) for g in LMUFORMER] + [(g, ("--streaming",)) for g in STREAMS]

every_form = pytest.mark.parametrize(
    ("golden", "form"), FORMS, ids=[" ".join((g.name, *f)) for g, f in FORMS]
)


def record(bundle: Path) -> dict[str, Any]:
    """What the manifest says of the quantization."""
    with mj.load(bundle) as session:
        found = session.manifest.quantization
    assert found is not None
    return found


@every_form
def test_kernels_compute_what_the_naive_program_computes(
    golden: Golden, form: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Expected outputs are those of the naive program; not one bit may differ.

    Floats too: what is left of them are single operations in one order, without fused products.
    The plain model's memory sums real numbers, in fused products here and plain ones there.
    """
    with mj.load(golden_bundle(tmp_path_factory, golden, *form, *INT8)) as session:
        checks = {check.name: check for check in verify(session)}
        manifest = session.manifest
    exact = golden in SPIKING
    for name, check in checks.items():
        assert check.max_abs_error <= (0.0 if exact else check.tolerance), name
    if exact and not form:
        spikes = {name for name in checks if name.startswith("spikes:")}
        assert spikes >= {n for n in golden.spikes() if not n.endswith(".f_u")}
    assert manifest.target.dtype == "int8"
    assert manifest.model.reference_macs


@every_form
def test_integers_everywhere_between_input_and_logits(
    golden: Golden, form: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Weights, accumulators, potentials, and every state that a spiking layer keeps."""
    with mj.load(golden_bundle(tmp_path_factory, golden, *form, *INT8)) as session:
        manifest = session.manifest
    ops = {kernel.op for kernel in manifest.kernels}
    states = {s.name: s.dtype for s in manifest.streaming.states} if manifest.streaming else {}
    assert all(d == "int8" for n, d in states.items() if n.endswith("proj_conv.window"))
    if golden in SPIKING:
        assert not ops & {"lif", "lmu_step"}
        real = {name for name, dtype in states.items() if dtype == "float32"}
        assert real <= {"logits.sum"}
    found = manifest.quantization
    assert found is not None
    layers = {entry["layer"] for entry in found["layers"]}
    assert layers >= {k.layer for k in manifest.kernels if k.op.startswith("spike_")}
    # int8 of well-shaped weights: 127 steps to each side leave 43 to 50 dB
    assert all(entry["sqnr_db"] is None or entry["sqnr_db"] > 40 for entry in found["layers"])


@pytest.mark.parametrize("golden", LMUFORMER, ids=lambda golden: golden.name)
def test_close_to_float(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Untrained spiking models amplify one changed spike, so only their first layers can be held.

    The first neurons see 8-bit inputs times 8-bit weights: an error of 1 % of their range at most,
    which moves a spike where a potential is that close to its threshold.
    """
    accuracy = record(golden_bundle(tmp_path_factory, golden, *INT8))["accuracy"]
    assert accuracy["agreement"] == 1.0
    if golden not in SPIKING:
        errors = accuracy["outputs"]["logits"]
        # eleven layers in a row at 45 dB of weights and inputs each: 11 · 2 · 10^(−45/20) = 12 %
        assert errors["rms_error"] < 0.12 * errors["rms"]
        return
    bundle = golden_bundle(tmp_path_factory, golden, *INT8)
    with mj.load(bundle) as session:
        names = [n for n in golden.spikes() if n in session.taps][:2]
        results = session.run({"x": golden.inputs["x"]}, names)
    for name in names:
        want = golden.spikes()[name]
        assert (results[name].reshape(want.shape) != want).mean() < 0.02, name


@pytest.mark.parametrize("golden", SAME_IN_STREAMS, ids=lambda golden: golden.name)
def test_a_stream_is_the_whole_sequence(
    golden: Golden, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One calibration, one set of scales: the same spikes, hence the same logits."""
    x = golden.inputs["x"]
    with mj.load(golden_bundle(tmp_path_factory, golden, *INT8)) as session:
        whole = session.run({"x": x})["logits"]
    with mj.load(golden_bundle(tmp_path_factory, golden, "--streaming", *INT8)) as session:
        stream = session.run({"x": x})["logits"]
    # integers are summed over time here, floats there
    np.testing.assert_allclose(stream, whole, rtol=0, atol=2e-6)


def test_an_endless_stream(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Behind seq_len the memory goes on by its integer recurrence: as long as it likes."""
    golden = next(g for g in STREAMS if "spiking-ms" in g.name)
    steps = 6 * read_folder(golden.path).hparams["seq_len"]
    x = np.random.default_rng(3).standard_normal((1, steps, 20)).astype(np.float32)
    with mj.load(golden_bundle(tmp_path_factory, golden, "--streaming", *INT8)) as session:
        logits = session.run({"x": x}, ["memory:block.0.attn.lmu"])
    assert np.isfinite(logits["all_seq_logits"]).all()
    memory = logits["memory:block.0.attn.lmu"]
    late, early = (np.abs(part).max() for part in (memory[steps // 2 :], memory[: steps // 2]))
    assert 0 < late < 4 * early


def test_batches(tmp_path_factory: pytest.TempPathFactory) -> None:
    golden = LMUFORMER[1]
    x = golden.inputs["x"].repeat(2, 0)
    x[1] = -x[1]
    with mj.load(golden_bundle(tmp_path_factory, golden, *INT8)) as session:
        single = session.run({"x": x})["logits"]
    bundle = golden_bundle(tmp_path_factory, golden, "--batch", "2", *INT8)
    with mj.load(bundle) as session:
        # the samples that they were calibrated with differ, hence the input's scale may
        both = session.run({"x": x})["logits"]
    assert both.shape == single.shape
    assert (both.argmax(1) == single.argmax(1)).all()


def test_equal_builds_give_equal_bytes(tmp_path: Path) -> None:
    golden = next(g for g in LMUFORMER if "psmnist" in g.name)
    files = [tmp_path / "a.mjb", tmp_path / "b.mjb"]
    for file in files:
        assert main(["build", str(golden.path), "-o", str(file), "--quiet", *INT8]) == 0
    assert_same_bytes(*files)


def test_the_plain_pixel_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The variant without a golden."""
    folder = tmp_path_factory.mktemp("pixel") / "model"
    random_folder(folder, "psmnist-plain")

    def build(path: Path) -> None:
        assert main(["build", str(folder), "-o", str(path), "--quiet", *INT8]) == 0

    bundle = shared(tmp_path_factory, "psmnist-plain-int8.mjb", build)
    assert main(["verify", str(bundle), "--quiet"]) == 0
    errors = record(bundle)["accuracy"]["outputs"]["logits"]
    # three layers in a row; see test_close_to_float
    assert errors["rms_error"] < 0.05 * errors["rms"]
