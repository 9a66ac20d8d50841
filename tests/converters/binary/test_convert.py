"""From model folders to modules: what loads, and one line for what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures.binary import SMALL_BERT, SMALL_VIT, save_folder
from millijoule.converters import convert, list_models
from millijoule.converters.binary import build_module
from millijoule.converters.binary.candidates import candidates
from millijoule.converters.binary.names import attention_names, bert_names
from millijoule.converters.binary.samples import ENOUGH, margin, safest
from millijoule.converters.binary.tensors import complete, pack, unpack
from millijoule.converters.macs import count_macs
from millijoule.converters.source import read_folder
from millijoule.errors import MjError, ModelError, UnsupportedError

VOCAB = "".join(f"{p}\n" for p in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b"))
FRONTEND = {"kind": "text", "tokenizer": "wordpiece", "vocab": "vocab.txt", "seq_len": 8}


def bert(folder: Path, family: str = "bibert", variant: str = "classification", **hp: Any) -> Path:
    """A small model folder."""
    return save_folder(folder / "m", family, variant, {**SMALL_BERT, **hp})[0]


def edit(folder: Path, **changes: Any) -> Path:
    """Change the config of a folder."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


@pytest.mark.parametrize(
    ("family", "variant", "change", "message"),
    [
        ("bibert", "classification", {"weight_bits": 2}, "weight_bits must be 1, but is 2"),
        ("bibert", "classification", {"hidden_act": "relu"}, "hidden_act must be one of gelu"),
        ("bibert", "classification", {"hidden_size": 31}, "multiple of the number of heads"),
        ("bibert", "classification", {"seq_len": 13}, "at most max_position_embeddings"),
        ("bibert", "classification", {"vocab_size": None}, "vocab_size is missing"),
        ("bibert", "classification", {"num_labels": -1}, "num_labels must be a positive integer"),
        ("bipft", "pretraining", {"input_quant_method": "pact"}, "must be 'elastic'"),
        ("bipft", "mlm", {}, "variant must be one of pretraining, classification"),
        ("bivit", "vit", {"attention": "soft"}, "attention must be 'threshold' or 'bool'"),
        ("bivit", "vit", {"learned_scales": 1}, "learned_scales must be true or false"),
        ("bivit", "vit", {"attention": 1}, "attention must be a text"),
        ("bivit", "vit", {"patch_size": 5}, "multiple of patch_size"),
        ("bivit", "modules", {"dim": 30, "num_heads": 4, "mlp_hidden": 8}, "multiple of the"),
        ("bivit", "modules", {"dim": 8, "num_heads": 2, "mlp_hidden": 8}, "but it has none"),
    ],
)
def test_bad_hyper_parameters(
    family: str, variant: str, change: dict[str, Any], message: str
) -> None:
    base = SMALL_VIT if family == "bivit" else SMALL_BERT
    with pytest.raises(MjError, match=message) as caught:
        build_module(family, variant, {**base, **change})
    assert "\n" not in str(caught.value)


def test_checkpoints_of_the_authors_load(tmp_path: Path) -> None:
    """``pytorch_model.bin`` of DataParallel with keys that inference ignores."""
    folder = bert(tmp_path)
    tensors = load_file(folder / "weights.safetensors")
    (folder / "weights.safetensors").unlink()
    extra = {
        "bert.pooler.dense.scale": torch.tensor(1.0),
        "bert.embeddings.position_ids": torch.arange(3),
    }
    torch.save(
        {f"module.{k}": v for k, v in {**tensors, **extra}.items()}, folder / "pytorch_model.bin"
    )
    model = convert(folder)
    assert list(model.ignored_keys) == sorted(extra)
    assert model.parameters == sum(t.numel() for t in tensors.values())
    assert [name for name, _ in model.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    assert [name for name, _ in model.outputs] == ["logits"]
    assert model.options["input_ids"] == {"limit": 50, "pad_axis": 1}
    assert model.options["attention_mask"] == {"limit": 2, "pad_axis": 1, "omitted": 1}


def test_missing_and_misshapen_tensors(tmp_path: Path) -> None:
    folder = bert(tmp_path)
    tensors = load_file(folder / "weights.safetensors")
    key = "bert.encoder.layer.0.attention.self.query.weight"
    save_file({**tensors, key: torch.zeros(3, 30)}, folder / "weights.safetensors")
    with pytest.raises(ModelError, match=rf"{key} must have shape \[30, 30\], but has \[3, 30\]"):
        convert(folder)
    del tensors[key]
    save_file(tensors, folder / "weights.safetensors")
    with pytest.raises(ModelError, match=f"1 tensors are missing: {key}"):
        convert(folder)
    with pytest.raises(UnsupportedError, match="no step form exists"):
        convert(folder, streaming=True)


def test_tied_weights_may_be_saved_once() -> None:
    table, bias = torch.randn(5, 3), torch.randn(5)
    tensors = {"bert.embeddings.word_embeddings.weight": table, "cls.predictions.bias": bias}
    whole = complete(dict(tensors))
    assert whole["cls.predictions.decoder.weight"] is table
    assert whole["cls.predictions.decoder.bias"] is bias
    own = {**tensors, "cls.predictions.decoder.weight": torch.zeros(5, 3)}
    assert complete(own)["cls.predictions.decoder.weight"].abs().sum() == 0
    assert complete({"classifier.bias": bias}).keys() == {"classifier.bias"}


def test_packed_weights() -> None:
    weight = torch.randn(5, 13)
    parts = {f"w{suffix}": part for suffix, part in pack(weight).items()}
    assert parts["w.bits"].shape == (5, 2)
    got = unpack({**parts, "b": torch.ones(2)}, "f")
    assert got.keys() == {"w", "b"}
    centred = weight - weight.mean(1, keepdim=True)
    torch.testing.assert_close(got["w"].sign(), centred.sign(), rtol=0, atol=0)
    torch.testing.assert_close(got["w"].abs().mean(1), weight.abs().mean(1))
    with pytest.raises(ValueError, match="its sign is no bit"):
        pack(torch.ones(2, 4))
    for name in ("w.alpha", "w.columns"):
        with pytest.raises(ModelError, match=r"\[f\] w must have \.bits, \.alpha and \.columns"):
            unpack({k: v for k, v in parts.items() if k != name}, "f")
    with pytest.raises(ModelError, match="do not fit 99 columns"):
        unpack({**parts, "w.columns": torch.tensor(99)}, "f")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": np.zeros((1, 3), int)}, "must hold input_ids"),
        ({"input_ids": np.zeros((1, 3), int), "x": np.zeros((1, 3), int)}, "must hold input_ids"),
        ({"input_ids": np.zeros((1, 3))}, "integers of one shape"),
        ({"input_ids": np.full((1, 3), 50)}, "input_ids must be from 0 to 49"),
        ({"input_ids": np.zeros((1, 13), int)}, "has 13 tokens, but hparams allow 12"),
        (
            {"input_ids": np.zeros((1, 3), int), "attention_mask": np.ones((1, 4), int)},
            "attention_mask must be integers of one shape",
        ),
    ],
)
def test_sample_inputs_that_do_not_fit(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    folder, module = save_folder(tmp_path / "m", "bibert", "classification", SMALL_BERT)
    np.savez(folder / "inputs.npz", **arrays)
    with pytest.raises(ModelError, match=message):
        next(candidates(read_folder(folder), module, None))


def test_vision_samples(tmp_path: Path) -> None:
    folder, module = save_folder(tmp_path / "v", "bivit", "vit", SMALL_VIT)
    np.savez(folder / "inputs.npz", x=np.zeros((1, 1, 16, 17), np.float32))
    with pytest.raises(ModelError, match=r"must hold x, real, of shape \[rows, 1, 16, 16\]"):
        next(candidates(read_folder(folder), module, None))
    keys = frozenset({"attn_sab.qkv.weight", "attn_sab.qkv.scaling_factor", "mlp_ste.fc1.weight"})
    parts = build_module("bivit", "modules", {"dim": 8, "num_heads": 2, "mlp_hidden": 9}, keys)
    names = set(parts.state_dict())
    assert {"attn_sab.qkv.scaling_factor", "mlp_ste.fc2.weight"} <= names
    assert not {"attn_sab.proj.scaling_factor", "attn_baseline.qkv.weight"} & names
    (folder / "inputs.npz").unlink()
    with pytest.raises(ModelError, match=r"hparams.seq_len \(tokens\) is missing"):
        next(candidates(read_folder(folder), parts, None))


def test_the_safest_sample_is_taken(tmp_path: Path) -> None:
    margins = {"a": 1e-9, "b": 1e-7, "c": ENOUGH, "d": 1.0}
    assert safest(margins, margins.__getitem__) == ("c", ENOUGH)
    del margins["c"], margins["d"]
    assert safest(margins, margins.__getitem__) == ("b", 1e-7)
    _, module = save_folder(tmp_path / "v", "bivit", "vit", SMALL_VIT)
    x = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    before = margin(module, {"x": x})
    assert 0 < before < 1
    with torch.no_grad():  # move one key's bias so that a sign hangs on 1e-9
        qkv = module.blocks[0].attn.qkv
        values = qkv(
            module.blocks[0].norm1(
                torch.cat([module.cls_token, module.patch_embed(x)], 1) + module.pos_embed
            )
        )
        qkv.bias[40] -= values[0, 2, 40] - 1e-7
    assert margin(module, {"x": x}) < 1e-6


def test_text_front_ends(tmp_path: Path) -> None:
    folder = edit(bert(tmp_path), frontend=FRONTEND, sample="ab ab")
    with pytest.raises(ModelError, match=r"frontend.vocab must name a file"):
        convert(folder)
    (folder / "vocab.txt").write_text(VOCAB)
    model = convert(folder)
    assert model.files == {"frontend/vocab.txt": VOCAB.encode()}
    assert model.frontend is not None
    assert model.frontend["vocab"] == "frontend/vocab.txt"
    assert model.inputs[0][1].shape == (1, 8)
    edit(folder, frontend={**FRONTEND, "seq_len": 13})
    with pytest.raises(ModelError, match="13 tokens, but hparams allow 50 and 12"):
        convert(folder)
    edit(folder, frontend={**FRONTEND, "kind": "log-mel"})
    with pytest.raises(ModelError, match="kind must be 'text'"):
        convert(folder)


def test_names_and_counts(tmp_path: Path) -> None:
    names = bert_names(2)
    assert names["map:bert.encoder.layer.1.attention.self"] == "layer1.attn_map"
    assert len(set(names.values())) == len(names) == 2 * 10 + 2
    assert attention_names(["a.b"])["map:a.b"] == "a.b.attn_map"
    _, module = save_folder(tmp_path / "m", "bibert", "classification", SMALL_BERT)
    macs = count_macs(module, lambda: module(torch.zeros(1, 12, dtype=torch.long)))
    assert not any("embeddings" in layer for layer in macs)
    assert macs["bert.encoder.layer.0.intermediate.dense"] == 12 * 30 * 65
    listed = {row["name"]: row for row in list_models()}
    assert listed["bipft"]["variants"] == ["pretraining", "classification"]
