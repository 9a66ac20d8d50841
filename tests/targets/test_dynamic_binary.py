"""Binary families whose rows and tokens vary: what a program of one size gives, to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import millijoule as mj
from fixtures.binary import BINARY, SMALL_BERT, SMALL_VIT, save_folder
from fixtures.devices import require
from fixtures.models import golden_bundle
from fixtures.shared import shared
from millijoule import Dim
from millijoule.bundle import Manifest
from millijoule.cli import main
from millijoule.errors import UnsupportedError, UsageError
from millijoule.shapes import at_sizes
from millijoule.text import frontend_of
from millijoule.verification import verify

LONGEST = 70
LENGTHS = (1, 15, 16, 17, 63, 64, 65, LONGEST)
BERT: dict[str, Any] = {**SMALL_BERT, "hidden_size": 64, "max_position_embeddings": LONGEST}
VARIANTS = {"bibert": "classification", "bipft": "pretraining"}
SEQ, BATCH = Dim("seq", 1, LONGEST), Dim("batch", 1, 3)
COUNTS = ("binary_ops", "multiplies", "adds", "bytes_read", "bytes_written")
BRIEF = ("--iterations", "1", "--warmup", "0", "--duration", "0")

families = pytest.mark.parametrize("family", VARIANTS)


def folder_of(path: Path, family: str, **changes: Any) -> Path:
    """A model folder; its weights are always the same."""
    return save_folder(path / "m", family, VARIANTS[family], {**BERT, **changes})[0]


def make(path: Path, family: str, target: str = "host") -> None:
    """A bundle whose rows and tokens vary."""
    model = mj.convert(folder_of(path.parent / f"{path.name}-of", family), dynamic=[BATCH, SEQ])
    mj.build(model, target=target, out=path).close()


def fixed(path: Path, family: str, steps: int) -> Path:
    """A bundle of one size."""
    model = mj.convert(folder_of(path, family, seq_len=steps))
    mj.build(model, out=path / "fixed.mjb").close()
    return path / "fixed.mjb"


def bundle_of(factory: pytest.TempPathFactory, family: str) -> Path:
    """The bundle of `make`, made once."""
    return shared(factory, f"dynamic-{family}.mjb", lambda path: make(path, family))


def tokens(rows: int, steps: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Ids, masks with holes, and types."""
    rng = np.random.default_rng((seed, steps))
    mask = rng.random((rows, steps)) < 0.7
    mask[:, 0] = True
    return {
        "input_ids": rng.integers(0, BERT["vocab_size"], (rows, steps)),
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": rng.integers(0, 2, (rows, steps)),
    }


def binary_counts(manifest: Manifest) -> dict[str, list[int]]:
    """Counts of every binary kernel, by layer and operator."""
    return {
        f"{k.layer} {k.op}": [getattr(k, count) for count in COUNTS]
        for k in manifest.kernels
        if k.op.startswith("binary")
    }


@families
def test_every_length_is_what_one_program_of_all_tokens_gives(
    family: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Which fills short rows up with masked padding: maps and floats have the same bits."""
    path = bundle_of(tmp_path_factory, family)
    with (
        mj.load(path, threads=2) as session,
        mj.load(fixed(tmp_path, family, LONGEST)) as largest,
    ):
        for steps in LENGTHS:
            given = tokens(3, steps)
            got, want = (s.run(given, ["layer0.attn_map"]) for s in (session, largest))
            want["layer0.attn_map"] = want["layer0.attn_map"][:, :, :steps, :steps]
            for name, y in want.items():
                np.testing.assert_array_equal(got[name], y, f"{name} of {steps}")


@families
def test_bits_and_counts_are_those_of_a_program_of_that_size(
    family: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = bundle_of(tmp_path_factory, family)
    with mj.load(path) as session, mj.load(fixed(tmp_path, family, 17)) as same:
        taps = [tap for tap in same.taps if tap in session.taps]
        assert "layer0.attn_map" in taps
        given = tokens(2, 17)
        want = same.run(given, taps)
        for name, y in session.run(given, taps).items():
            np.testing.assert_array_equal(y, want[name], name)
        counted = at_sizes(session.manifest, {"batch": 1, "seq": 17})
        assert binary_counts(counted) == binary_counts(same.manifest)


@families
def test_verify_knows_the_smallest_and_largest(
    family: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with mj.load(bundle_of(tmp_path_factory, family)) as session:
        checks = verify(session)
        assert [str(dim) for dim in session.dims] == ["batch=1..3", f"seq=1..{LONGEST}"]
        assert all(check.passed for check in checks)
        assert {tuple(c.sizes.values()) for c in checks} == {(1, LONGEST), (1, 1), (3, LONGEST)}
        bare = session.run({"input_ids": tokens(2, 9)["input_ids"]})  # mask and types left out
        assert all(np.isfinite(y).all() for y in bare.values())


def test_profiles_count_the_operations_of_a_size(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, out = bundle_of(tmp_path_factory, "bibert"), tmp_path / "i.json"
    for steps in (16, 64):
        assert main(["inspect", str(path), "--size", f"seq={steps}", "--size", "batch=1"]) == 0
        sizes = ["--size", f"seq={steps}", "--size", "batch=2", "--json", str(out)]
        assert main(["profile", str(path), "--quiet", "--energy", "off", *BRIEF, *sizes]) == 0
        found = json.loads(out.read_text())["operations"]["totals"]["binary_ops"]
        width, inner = BERT["hidden_size"], BERT["intermediate_size"]
        linear = 2 * (steps * (4 * width * width + 2 * width * inner) + width * width)
        assert found == linear + 2 * 2 * steps * steps * width


def test_an_emulated_device_runs_any_length(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Integers are this machine's; floats come from other kernels."""
    require("qemu:cortex-a72")
    make(tmp_path / "arm.mjb", "bibert", "cortex-a72")
    with (
        mj.load(tmp_path / "arm.mjb", device="qemu:cortex-a72", threads=2) as session,
        mj.load(bundle_of(tmp_path_factory, "bibert")) as host,
    ):
        assert all(check.passed for check in verify(session))
        for steps in (1, 15, 17, 64, 65, LONGEST):
            given = tokens(2, steps)
            got, want = (s.run(given, ["layer0.attn_map"]) for s in (session, host))
            np.testing.assert_array_equal(got["layer0.attn_map"], want["layer0.attn_map"])
            np.testing.assert_allclose(got["logits"], want["logits"], rtol=0, atol=1e-4)


def test_images_in_any_number(tmp_path: Path) -> None:
    folder, _ = save_folder(tmp_path / "v", "bivit", "vit", SMALL_VIT)
    x = torch.randn(5, 1, 16, 16, generator=torch.Generator().manual_seed(2)).numpy()
    mj.build(mj.convert(folder), out=tmp_path / "one.mjb").close()
    mj.build(mj.convert(folder, dynamic=[BATCH]), out=tmp_path / "any.mjb").close()
    with mj.load(tmp_path / "one.mjb") as one, mj.load(tmp_path / "any.mjb", threads=2) as session:
        assert all(check.passed for check in verify(session))
        want = one.run({"x": x}, one.taps)
        for rows in (1, 2, 3, 5):
            got = session.run({"x": x[:rows]}, one.taps)
            for name, y in got.items():
                np.testing.assert_array_equal(y, want[name][:rows], name)


def test_modules_of_any_length(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    golden = BINARY[-1]
    x = {"x": np.load(golden.path / "inputs.npz")["x"]}
    mj.build(mj.convert(golden.path, dynamic=[BATCH, SEQ]), out=tmp_path / "any.mjb").close()
    with (
        mj.load(tmp_path / "any.mjb") as session,
        mj.load(golden_bundle(tmp_path_factory, golden)) as one,
    ):
        checks = verify(session)
        assert {check.sizes["seq"] for check in checks} == {1, x["x"].shape[1], LONGEST}
        assert all(check.passed for check in checks)
        want = one.run(x, one.taps)
        for name, y in session.run(x, one.taps).items():
            np.testing.assert_array_equal(y, want[name], name)


@pytest.mark.parametrize(
    ("dynamic", "batch", "message"),
    [
        ([Dim("seq", 1, 71)], 1, "has 70 positions, but seq=1..71 may have more tokens"),
        ([Dim("n", 1, 4)], 1, "names no dimension 'n'; it names batch, seq"),
        ({"input_ids": {1: SEQ}}, 1, "seq=1..70 is not given for each of input_ids, attention_m"),
        ({"ids": {1: SEQ}}, 1, "inputs are input_ids, attention_mask, token_type_ids, but not"),
        ({"input_ids": {2: SEQ}}, 1, "axis of input_ids must be 0 to 1"),
        ([BATCH], 2, "the batch of m varies, so leave out batch=2"),
    ],
)
def test_what_is_refused(dynamic: Any, batch: int, message: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "bibert")
    with pytest.raises((UsageError, UnsupportedError), match=message) as caught:
        mj.convert(folder, dynamic=dynamic, batch=batch)
    assert "\n" not in str(caught.value)


def test_the_size_of_an_image_is_fixed(tmp_path: Path) -> None:
    folder, _ = save_folder(tmp_path / "v", "bivit", "vit", SMALL_VIT)
    with pytest.raises(UnsupportedError, match=r"takes x in one size along axis 2; .* batch \(ax"):
        mj.convert(folder, dynamic={"x": {2: Dim("height", 8, 16)}})
    with pytest.raises(UsageError, match="names no dimension 'seq'; it names batch"):
        mj.convert(folder, dynamic=[SEQ])


def test_texts_take_as_many_tokens_as_they_need(tmp_path: Path) -> None:
    """Padded to the longest of a call and cut to the bounds, as examples are."""
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b")
    entry = {"kind": "text", "tokenizer": "wordpiece", "vocab": "vocab.txt", "seq_len": 24}
    folder, _ = save_folder(tmp_path / "m", "bibert", "classification", BERT, frontend=entry)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))
    mj.build(mj.convert(folder), out=tmp_path / "fixed.mjb").close()
    mj.build(mj.convert(folder, dynamic=[Dim("seq", 5, 16)]), out=tmp_path / "m.mjb").close()
    with mj.load(tmp_path / "m.mjb") as session, mj.load(tmp_path / "fixed.mjb") as whole:
        assert all(check.passed for check in verify(session))
        front = frontend_of(session.bundle)
        for texts, steps in ((["a"], 5), (["a", "a b a b a"], 7), (["a " * 99], 16)):
            given = front(texts)
            assert given["input_ids"].shape == (len(texts), steps)
            np.testing.assert_array_equal(session.run(given)["logits"], whole.run(given)["logits"])
        assert frontend_of(whole.bundle)(["a"])["input_ids"].shape == (1, 24)
    assert main(["run", str(tmp_path / "m.mjb"), "--inputs", "a b", "--quiet"]) == 0
