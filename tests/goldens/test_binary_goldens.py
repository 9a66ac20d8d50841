"""The authors' BiBERT, BiPFT and BiViT through the command line: build, run, verify."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

from fixtures.binary import BERTS, BINARY, INSIDE
from fixtures.models import Golden, golden_bundle
from millijoule.bundle import Bundle
from millijoule.cli import main

X86_TARGETS = ("x86-64-v3",) if platform.machine() in ("x86_64", "AMD64") else ()
# in no kernel's memory: results of operators that fuse with their neighbours, and of layers of
# which only signs are kept
FUSED = ("embedding_out", "attention_out", "intermediate_out", "layer_out", "pooled", "proj", "fc2")
FUSED += ("query", "key", "value", "qkv", "context", "attn_dense", "pooler_dense", "fc1")
FUSED += ("ffn_dense1", "ffn_dense2")

every = pytest.mark.parametrize("golden", BINARY, ids=lambda golden: golden.name)


def run(bundle: Path, golden: Golden, tmp_path: Path, *options: str) -> dict[str, np.ndarray]:
    """``mj run`` on the golden inputs: everything that it writes."""
    out = tmp_path / "outputs.npz"
    inputs = str(golden.path / "inputs.npz")
    arguments = ["run", str(bundle), "--inputs", inputs, "--outputs", str(out), "--quiet"]
    assert main([*arguments, "--taps", "all", *options]) == 0
    return dict(np.load(out))


def check(results: dict[str, np.ndarray], golden: Golden) -> set[str]:
    """Maps are the authors', floats close to theirs; the names that were not there."""
    missing = set()
    for name, expected in golden.outputs.items():
        if name not in results:
            missing.add(name)
        elif name.endswith("attn_map"):
            np.testing.assert_array_equal(results[name], expected, name)
        else:
            np.testing.assert_allclose(results[name], expected, rtol=0, atol=1e-4, err_msg=name)
    return {name for name in missing if not name.endswith((*INSIDE, *FUSED))}


@every
def test_outputs_maps_and_contexts(
    golden: Golden, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    results = run(golden_bundle(tmp_path_factory, golden), golden, tmp_path)
    assert not check(results, golden)
    assert any(name.endswith("attn_map") for name in results)


def test_batches_and_threads(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    golden = BERTS[2]
    bundle = golden_bundle(tmp_path_factory, golden, "--batch", "2")
    results = run(bundle, golden, tmp_path, "--threads", "2")
    assert not check(results, golden)
    single = run(golden_bundle(tmp_path_factory, golden), golden, tmp_path)
    for name, value in single.items():
        np.testing.assert_array_equal(results[name], value, name)


@pytest.mark.parametrize("target", X86_TARGETS)
@pytest.mark.parametrize("golden", BINARY[::3], ids=lambda golden: golden.name)
def test_other_targets(
    golden: Golden, target: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = golden_bundle(tmp_path_factory, golden, "--target", target)
    assert not check(run(bundle, golden, tmp_path), golden)


@every
def test_verify(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = golden_bundle(tmp_path_factory, golden)
    assert main(["verify", str(path), "--quiet"]) == 0
    with Bundle.open(path) as bundle:
        assert any(name.endswith("attn_map") for name in bundle.samples()[1])


def test_what_a_manifest_says(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Bundle.open(golden_bundle(tmp_path_factory, BERTS[0])) as bundle:
        manifest = bundle.manifest
    # one operation per product of signs: six layers' matrices, the pooler's, and the attention's
    steps, width, inner, layers = 32, 128, 256, 2
    linear = layers * steps * (4 * width * width + 2 * width * inner) + width * width
    attention = layers * 2 * steps * steps * width
    assert sum(k.binary_ops for k in manifest.kernels) == linear + attention
    assert "bert.embeddings.word_embeddings" not in manifest.model.reference_macs
    assert sum(manifest.model.reference_macs.values()) == linear + 2 * width
    suffixes = {key.rsplit(".", 1)[-1] for key in manifest.model.ignored_keys}
    clips = {"clip_query", "clip_key", "clip_value", "clip_attn"}
    assert suffixes == {"weight_clip_val", "act_clip_val", "scale", "gate", *clips}
