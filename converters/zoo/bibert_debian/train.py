"""Train bibert-debian: ``python -m millijoule.converters.zoo.bibert_debian.train``.

Needs a Debian system's package index (see dataset.py) and scikit-learn. Binary weights have real
ones behind them, through which gradients go straight. Labels are softened by a linear model over
words and pairs of words, which judges each row without having seen it (five folds). The last epoch
is what counts; nothing is chosen by held-out rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.binary import build_module
from millijoule.converters.source import read_folder
from millijoule.converters.zoo.bibert_debian.dataset import LABELS, Row, load, write_held_out
from millijoule.converters.zoo.packed import save_packed
from millijoule.text import frontend_from_manifest, read_vocab

FOLDER = Path(__file__).parent
BATCH = 64
DROPPED = 0.15  # share of tokens hidden from the model in training
TEACHER_SHARE = 0.5


def train_vocab(texts: list[str], size: int, out: Path) -> None:
    """WordPiece vocabulary of ``texts``, one piece a line."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=special)
    tokenizer.train_from_iterator(texts, trainer)
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    out.write_text("".join(f"{piece}\n" for piece, _ in pieces), encoding="utf-8")


def encode(rows: list[Row]) -> dict[str, Tensor]:
    """Token ids and mask of rows, [rows, seq_len]."""
    folder = read_folder(FOLDER)
    vocab = read_vocab((FOLDER / "vocab.txt").read_bytes())
    arrays = frontend_from_manifest(folder.config["frontend"], vocab)([text for text, _ in rows])
    names = ("input_ids", "attention_mask")
    return {name: torch.from_numpy(arrays[name]) for name in names}


def teacher(rows: list[Row]) -> Tensor:
    """Out-of-fold probabilities of a linear model, [rows, labels]."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=5, max_iter=200))
    texts, labels = zip(*rows, strict=True)
    judged = cross_val_predict(model, texts, labels, cv=5, method="predict_proba")
    return torch.from_numpy(judged.astype(np.float32))


def train(model: nn.Module, x: dict[str, Tensor], target: Tensor, epochs: int) -> None:
    """Fit ``model`` to soft labels, in place."""
    rng = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    count = len(target)
    steps = epochs * (count // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(count, generator=rng)
        for i in range(0, count - BATCH + 1, BATCH):
            rows = order[i : i + BATCH]
            ids, mask = x["input_ids"][rows], x["attention_mask"][rows]
            keep = torch.rand(mask.shape, generator=rng) >= DROPPED
            keep[:, 0] = True
            logits = model(ids, mask * keep)["logits"]
            loss = F.cross_entropy(logits, target[rows])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}: loss {total / (count // BATCH):.4f}", flush=True)


def accuracy(model: nn.Module, rows: list[Row]) -> float:
    """Share of rows whose largest logit is the label's."""
    with torch.no_grad():
        chosen = model(**encode(rows))["logits"].argmax(-1)
    return float((chosen == torch.tensor([label for _, label in rows])).double().mean())


def main() -> None:
    """Train, save the packed weights and the held-out rows, print the accuracies."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=FOLDER / "weights.safetensors")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = read_folder(FOLDER)
    rows, held = load()
    write_held_out(held)
    train_vocab([text for text, _ in rows], folder.hparams["vocab_size"], FOLDER / "vocab.txt")
    hard = F.one_hot(torch.tensor([label for _, label in rows]), len(LABELS)).float()
    target = TEACHER_SHARE * teacher(rows) + (1 - TEACHER_SHARE) * hard
    model = build_module(folder.family, folder.variant, folder.hparams)
    train(model.train(), encode(rows), target, arguments.epochs)
    model = save_packed(model.eval(), arguments.out)
    print(f"accuracy: {accuracy(model, rows):.4f} train, {accuracy(model, held):.4f} held out")


if __name__ == "__main__":
    main()
