"""Pieces of words, and rows of token ids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import models, pre_tokenizers

from millijoule.errors import UsageError
from millijoule.text import WordPiece, frontend_from_manifest, read_vocab

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "ab", "abc", "##a", "##b", "##bc", "##ü"]
VOCAB = {piece: i for i, piece in enumerate(PIECES)}
ENTRY = {"kind": "text", "tokenizer": "wordpiece", "vocab": "v", "lowercase": True, "seq_len": 8}

library = Library(models.WordPiece(VOCAB, unk_token="[UNK]", max_input_chars_per_word=100))
library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()


@given(st.lists(st.text("abcü", min_size=1, max_size=12), max_size=6))
def test_pieces_are_those_of_the_library(words: list[str]) -> None:
    assert WordPiece(VOCAB).ids(words) == library.encode(" ".join(words)).ids


@pytest.mark.parametrize("length", [99, 100, 101, 5000])
def test_long_words(length: int) -> None:
    ids = WordPiece(VOCAB).ids(["a" * length])
    assert ids == library.encode("a" * length).ids
    assert len(ids) == (length if length <= 100 else 1)


def test_a_word_is_covered_whole_or_unknown() -> None:
    assert WordPiece(VOCAB).ids(["abcbc", "abx", "ü"]) == [VOCAB["abc"], VOCAB["##bc"], 1, 1]


def test_reading_a_vocabulary() -> None:
    data = "\n".join([*PIECES, "\u2028", "\x85"]).encode() + b"\n"
    vocab = read_vocab(data)
    assert list(vocab)[: len(PIECES)] == PIECES
    assert (vocab["\u2028"], vocab["\x85"]) == (len(PIECES), len(PIECES) + 1)
    assert read_vocab(data.replace(b"\n", b"\r\n")) == vocab
    with pytest.raises(UsageError, match="UTF-8"):
        read_vocab(b"\xff")
    with pytest.raises(UsageError, match=r"lacks \[CLS\], \[SEP\]"):
        read_vocab(b"[PAD]\n[UNK]\n")


def test_rows() -> None:
    rows = frontend_from_manifest(ENTRY, VOCAB)(["ab a", "", "a\tb"])
    ids, mask, types = rows["input_ids"], rows["attention_mask"], rows["token_type_ids"]
    assert ids.tolist() == [
        [2, 6, 4, 3, 0, 0, 0, 0],
        [2, 3, 0, 0, 0, 0, 0, 0],
        [2, 4, 3, 5, 3, 0, 0, 0],
    ]
    np.testing.assert_array_equal(mask, ids != 0)
    assert types.tolist() == [[0] * 8, [0] * 8, [0, 0, 0, 1, 1, 0, 0, 0]]
    assert {a.dtype.name for a in rows.values()} == {"int64"}


def test_what_is_too_long_is_cut_the_longer_first() -> None:
    front = frontend_from_manifest(ENTRY, VOCAB)
    assert front(["a " * 20])["input_ids"].tolist() == [[2, *[4] * 6, 3]]
    pair = front(["a " * 20 + "\tb b"])
    assert pair["input_ids"].tolist() == [[2, 4, 4, 4, 3, 5, 5, 3]]
    assert pair["token_type_ids"].tolist() == [[0] * 5 + [1] * 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "log-mel"}, "kind must be 'text'"),
        ({"tokenizer": "bpe"}, "tokenizer must be 'wordpiece'"),
        ({"seq_len": 2}, "seq_len must be a whole number from 3"),
        ({"seq_len": True}, "seq_len must be a whole number"),
        ({"seq_len": None}, "seq_len must be a whole number"),
        ({"lowercase": "no"}, "lowercase must be true or false"),
    ],
)
def test_bad_entries(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        frontend_from_manifest({**ENTRY, **change}, VOCAB)


def test_bad_texts() -> None:
    front = frontend_from_manifest(ENTRY, VOCAB)
    with pytest.raises(UsageError, match="at least one text"):
        front([])
    with pytest.raises(UsageError, match="at most 1048576"):
        front(["a" * (2**20 + 1)])
