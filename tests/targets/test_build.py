"""Builds: the same bytes every time, all or nothing, and one line for each failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import millijoule as mj
from fixtures.bundles import assert_same_bytes
from fixtures.models import LMUFORMER, Golden, golden_bundle, random_folder, random_module
from fixtures.models import SMALL as HPARAMS
from millijoule.cli import main
from millijoule.converters.lmuformer.convert import prefix_logits

SMALLEST: Golden = LMUFORMER[-1]


@pytest.mark.parametrize("form", [(), ("--streaming",)], ids=["whole", "streaming"])
def test_two_builds_are_the_same_bytes(
    form: tuple[str, ...], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In another process, another folder, with another hash seed and temporary directory."""
    first = golden_bundle(tmp_path_factory, SMALLEST, *form)
    second, scratch = tmp_path / "some where" / "again.mjb", tmp_path / "temporary"
    second.parent.mkdir()
    scratch.mkdir()
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TMPDIR": str(scratch)}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    arguments = ["build", str(SMALLEST.path), "-o", str(second), "--quiet", *form]
    subprocess.run(
        [sys.executable, "-m", "millijoule", *arguments],
        check=True,
        cwd=second.parent,
        env=environment,
    )
    assert_same_bytes(first, second)
    assert not list(scratch.glob("millijoule-*"))  # torch keeps a folder of its own


def failing_compiler(folder: Path) -> Path:
    """A compiler that says its version and then fails at everything."""
    script = folder / "cc-that-fails"
    script.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo "cc 1.0"; exit 0; fi\n'
        'echo "entry.c:1: error: out of coffee" >&2\nexit 1\n'
    )
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("existing", [None, b"an older bundle"], ids=["new", "overwriting"])
def test_a_failing_compiler_leaves_nothing_behind(
    existing: bytes | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scratch, target = tmp_path / "temporary", tmp_path / "out"
    scratch.mkdir()
    target.mkdir()
    out = target / "model.mjb"
    if existing is not None:
        out.write_bytes(existing)
    monkeypatch.setenv("CC", str(failing_compiler(tmp_path)))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert main(["build", str(SMALLEST.path), "-o", str(out), "--quiet"]) == 4
    message = capsys.readouterr().err.strip()
    assert "out of coffee" in message
    assert len(message.splitlines()) == 1
    assert not list(scratch.glob("millijoule-*"))  # torch keeps a folder of its own
    assert {p.name for p in target.iterdir()} == (set() if existing is None else {"model.mjb"})
    assert existing is None or out.read_bytes() == existing


def test_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert main(["build", str(SMALLEST.path), "-o", str(tmp_path / "m.mjb"), "--quiet"]) == 4
    assert "no-such-compiler" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no-such-model"], 2, "zoo name"),
        ([str(SMALLEST.path), "--target", "z80"], 2, "must be one of host"),
        ([str(LMUFORMER[3].path), "--streaming"], 3, "attends over the whole sequence"),
        ([str(SMALLEST.path), "--dtype", "float16"], 3, "float32"),
        ([str(SMALLEST.path), "--emit", "c"], 3, "objects"),
    ],
)
def test_exit_codes(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "model.mjb"
    assert main(["build", *arguments, "-o", str(out), "--quiet"]) == code
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variant", ["psmnist-plain", "spiking-attention", "spiking-ms"])
def test_random_models_are_torch(variant: str, tmp_path: Path) -> None:
    """Variants without a golden, and more layers than the goldens have."""
    hparams = {**HPARAMS[variant], **({} if "psmnist" in variant else {"depth": 2})}
    folder = random_folder(tmp_path / variant, variant, hparams)
    out = tmp_path / "model.mjb"
    assert main(["build", str(folder), "-o", str(out), "--quiet"]) == 0
    assert main(["verify", str(out), "--quiet"]) == 0
    with mj.load(out) as session:
        x = session.bundle.samples()[0]["x"]
        got = session.run({"x": x})["logits"]
    with torch.no_grad():
        expected = random_module(variant, hparams)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def psmnist_plain(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Prefix means of the logits by the recurrence of the paper, in float64: [N, B, classes]."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    scale = w["bn1.weight"] / np.sqrt(w["bn1.running_var"] + 1e-5)
    memory = np.zeros((len(x), len(w["lmu_fft.A"])))
    logits = []
    for t in range(x.shape[1]):
        y = x[:, t].astype(np.float64) @ w["conv1.weight"][:, :, 0].T + w["conv1.bias"]
        y = (y - w["bn1.running_mean"]) * scale + w["bn1.bias"]
        u = np.maximum(y @ w["lmu_fft.W_u.weight"].T + w["lmu_fft.W_u.bias"], 0)
        memory = memory @ w["lmu_fft.A"].T + u @ w["lmu_fft.B"].T
        both = np.concatenate([memory, y], axis=1)
        h = np.maximum(both @ w["lmu_fft.W_h.weight"].T + w["lmu_fft.W_h.bias"], 0)
        logits.append(h @ w["classifier.weight"].T + w["classifier.bias"])
    return np.cumsum(logits, axis=0) / np.arange(1, len(logits) + 1)[:, None, None]


def test_endless_stream_against_the_papers_recurrence(tmp_path: Path) -> None:
    variant, steps = "psmnist-plain", 3 * 49
    folder = random_folder(tmp_path / variant, variant)
    out = tmp_path / "model.mjb"
    assert main(["build", str(folder), "-o", str(out), "--streaming", "--quiet"]) == 0
    module = random_module(variant, HPARAMS[variant])
    weights = {name: t.numpy() for name, t in module.state_dict().items()}
    x = np.random.default_rng(1).standard_normal((1, steps, 1)).astype(np.float32)
    with mj.load(out) as session:
        got = session.run({"x": x})["all_seq_logits"]
    np.testing.assert_allclose(got, psmnist_plain(weights, x), rtol=0, atol=2e-5)
    with torch.no_grad():
        parallel = prefix_logits(module, torch.from_numpy(x[:, :49]))
    np.testing.assert_allclose(got[:49], parallel, rtol=0, atol=2e-5)
