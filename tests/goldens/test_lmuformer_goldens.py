"""The authors' LMUFormer models through the command line: build, run, stream, verify."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch

import millijoule as mj
from fixtures.models import LMUFORMER, STREAMABLE, Golden, golden_bundle
from millijoule.cli import main
from millijoule.converters.checkpoint import find_weights, load_weights, read_checkpoint
from millijoule.converters.lmuformer import build_module
from millijoule.converters.lmuformer.convert import DERIVED, prefix_logits
from millijoule.converters.source import read_folder

STREAMS = tuple(g for g in LMUFORMER if read_folder(g.path).variant in STREAMABLE)
X86_TARGETS = ("x86-64-v3",) if platform.machine() in ("x86_64", "AMD64") else ()

every = pytest.mark.parametrize("golden", LMUFORMER, ids=lambda golden: golden.name)
every_stream = pytest.mark.parametrize("golden", STREAMS, ids=lambda golden: golden.name)


def run(bundle: Path, golden: Golden, tmp_path: Path, *options: str) -> dict[str, np.ndarray]:
    """``mj run`` on the golden inputs: everything that it writes."""
    out = tmp_path / "outputs.npz"
    inputs = str(golden.path / "inputs.npz")
    arguments = ["run", str(bundle), "--inputs", inputs, "--outputs", str(out), "--quiet"]
    assert main([*arguments, *options]) == 0
    return dict(np.load(out))


def check_spikes(results: dict[str, np.ndarray], golden: Golden) -> None:
    """Every spike of the authors' is ours, and at most these."""
    for name, expected in golden.spikes().items():
        np.testing.assert_array_equal(results[name].reshape(expected.shape), expected, name)


@every
@pytest.mark.parametrize("options", [(), ("--batch", "2"), ("--threads", "2")], ids=" ".join)
def test_whole_sequence(
    golden: Golden,
    options: tuple[str, ...],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if options and golden not in LMUFORMER[:2]:
        options = ()  # these are about the program, not about the model
    bundle = golden_bundle(tmp_path_factory, golden, *options)
    results = run(bundle, golden, tmp_path, "--taps", "all")
    np.testing.assert_allclose(results["logits"], golden.outputs["logits"], rtol=0, atol=1e-5)
    check_spikes(results, golden)


def test_spikes_of_the_pixel_model(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    golden = LMUFORMER[-1]
    bundle = golden_bundle(tmp_path_factory, golden)
    results = run(bundle, golden, tmp_path, "--taps", "all")
    u = results["spikes:lmu_fft.f_u"].reshape(2, 49).T
    np.testing.assert_array_equal(u, golden.outputs["spikes_u[N,B,1]"][..., 0])
    np.testing.assert_array_equal(results["spikes:lmu_fft.f_h"], golden.outputs["h"])


@every_stream
def test_stream(golden: Golden, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = golden_bundle(tmp_path_factory, golden, "--streaming")
    results = run(bundle, golden, tmp_path)
    outputs = golden.outputs
    np.testing.assert_allclose(results["logits"], outputs["logits"], rtol=0, atol=1e-5)
    if "all_seq_logits" in outputs:
        np.testing.assert_allclose(
            results["all_seq_logits"], outputs["all_seq_logits"], rtol=0, atol=2e-5
        )


def depth_of(layer: str) -> int:
    """By how many steps a layer lags behind the input of a stream."""
    numbered = {"proj_lif": 1, "proj_lif1": 2, "proj_lif2": 3, "proj_lif3": 4}
    return numbered.get(layer.rsplit(".", 1)[-1], 5) if "patch_embed" in layer else 5


@pytest.mark.parametrize("golden", STREAMS[1:3], ids=lambda golden: golden.name)
def test_spikes_of_a_stream(
    golden: Golden, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = golden_bundle(tmp_path_factory, golden, "--streaming")
    results = run(bundle, golden, tmp_path, "--taps", "all")
    # spikes that are a state of the stream never lie in the arena, where taps are read
    tapped_spikes = {n: s for n, s in golden.spikes().items() if n in results}
    assert set(golden.spikes()) - set(tapped_spikes) <= {"spikes:patch_embed.proj_lif3"}
    for name, expected in tapped_spikes.items():
        steps = expected.shape[1]
        tapped = results[name]
        by_step = tapped.reshape(len(tapped), *expected.transpose(1, 0, 2).shape[1:])
        depth = depth_of(name)
        real = by_step[depth : depth + steps].transpose(1, 0, 2)
        np.testing.assert_array_equal(real, expected, name)
        assert not by_step[:depth].any(), f"{name} fired before the sequence reached it"
        assert not by_step[depth + steps :].any(), f"{name} fired after the sequence had passed"


@every_stream
def test_frames_one_by_one(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> None:
    """step, flush and reset give what a whole run gives, twice."""
    x = golden.inputs["x"][:1]
    bundle = golden_bundle(tmp_path_factory, golden, "--streaming")
    with mj.load(bundle) as session, session.stream() as stream:
        expected = session.run({"x": x})["all_seq_logits"]
        for _ in range(2):
            answers = [stream.step({"x": x[:, t]}) for t in range(x.shape[1])]
            delay = session.manifest.streaming.delay
            assert answers[:delay] == [None] * delay
            given = [a["logits"] for a in [*answers[delay:], *stream.flush()] if a is not None]
            np.testing.assert_array_equal(np.stack(given), expected)
            stream.reset()


@every
def test_verify(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert main(["verify", str(golden_bundle(tmp_path_factory, golden)), "--quiet"]) == 0


@every_stream
def test_verify_streams(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = golden_bundle(tmp_path_factory, golden, "--streaming")
    assert main(["verify", str(bundle), "--quiet"]) == 0


@pytest.mark.parametrize("golden", LMUFORMER[:2], ids=lambda golden: golden.name)
@pytest.mark.parametrize("target", X86_TARGETS)
@pytest.mark.parametrize("form", [(), ("--streaming",)], ids=["whole", "streaming"])
def test_other_targets(
    golden: Golden,
    target: str,
    form: tuple[str, ...],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bundle = golden_bundle(tmp_path_factory, golden, "--target", target, *form)
    results = run(bundle, golden, tmp_path, "--taps", "all")
    np.testing.assert_allclose(results["logits"], golden.outputs["logits"], rtol=0, atol=1e-5)
    if not form:
        check_spikes(results, golden)


@every_stream
def test_endless_stream(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Three times seq_len: the memory's finite form ends, the recurrence goes on.

    The reference is the parallel form of a model that was made for so long a sequence (the same
    θ, hence the same memory), in float64.
    """
    folder = read_folder(golden.path)
    steps = 3 * folder.hparams["seq_len"]
    longer = build_module(folder.variant, {**folder.hparams, "seq_len": steps}).eval()
    tensors = read_checkpoint(find_weights(golden.path))
    own = {k: v for k, v in tensors.items() if k.rsplit(".", 1)[-1] not in (*DERIVED, "fft_H")}
    load_weights(longer, own, golden.name, DERIVED)
    x = np.random.default_rng(5).standard_normal((1, steps, longer.features)).astype(np.float32)
    with torch.no_grad():
        expected = prefix_logits(longer.double(), torch.from_numpy(x).double())
    bundle = golden_bundle(tmp_path_factory, golden, "--streaming")
    with mj.load(bundle) as session:
        got = session.run({"x": x})["all_seq_logits"]
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5)
