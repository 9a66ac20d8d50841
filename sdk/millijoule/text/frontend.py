"""From texts to a model's inputs, as the bundle's manifest describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..shapes import Shapes
from .normalize import split_words
from .wordpiece import WordPiece, read_vocab

if TYPE_CHECKING:
    from ..bundle import Bundle

__all__ = ["MIN_TOKENS", "TextFrontend", "frontend_from_manifest", "frontend_of"]

MIN_TOKENS = 3  # of a row: two special ones, or three in a pair
_LONGEST = 1 << 16  # tokens
_MAX_CHARACTERS = 1 << 20  # of one text


@dataclass(frozen=True)
class TextFrontend:
    """``[CLS] text [SEP]``, or ``[CLS] text [SEP] second [SEP]``, cut to ``seq_len`` and padded.

    A tab divides a text from a second one. Where both are too long, the longer one is cut first.

    Attributes:
        pieces: the vocabulary.
        seq_len: tokens of a row, at least `MIN_TOKENS`.
        lowercase: whether words are lower-cased and lose their accents.
        least: tokens of a row at least, for programs of any length: rows are padded to the longest
            among them. None: to ``seq_len``.
    """

    pieces: WordPiece
    seq_len: int
    lowercase: bool = True
    least: int | None = None

    def __call__(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """``input_ids``, ``attention_mask``, ``token_type_ids``: int64 ``[texts, tokens]``.

        Raises:
            UsageError: no text, or one of more than a million characters.
        """
        if not texts:
            raise UsageError("[text] needs at least one text")
        parts = [self._parts(text) for text in texts]
        longest = max(len(first) + len(second) for first, second in parts)
        steps = self.seq_len if self.least is None else max(longest, self.least)
        names = ("input_ids", "attention_mask", "token_type_ids")
        ids, mask, types = arrays = [np.zeros((len(texts), steps), np.int64) for _ in names]
        ids[:] = self.pieces.vocab["[PAD]"]
        for row, (first, second) in enumerate(parts):
            tokens = first + second
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
            types[row, len(first) : len(tokens)] = 1
        return dict(zip(names, arrays, strict=True))

    def _parts(self, text: str) -> tuple[list[int], list[int]]:
        """Ids of both parts with their special tokens; the second is empty if there is none."""
        if len(text) > _MAX_CHARACTERS:
            raise UsageError(f"[text] has {len(text)} characters; at most {_MAX_CHARACTERS}")
        head, tab, tail = text.partition("\t")
        cls, sep = self.pieces.vocab["[CLS]"], self.pieces.vocab["[SEP]"]
        first, second = self._ids(head), self._ids(tail)
        room = self.seq_len - (3 if tab else 2)
        while len(first) + len(second) > room:
            (first if len(first) >= len(second) else second).pop()
        return [cls, *first, sep], [*second, sep] if tab else []

    def _ids(self, text: str) -> list[int]:
        return self.pieces.ids(split_words(text, lowercase=self.lowercase))


def frontend_from_manifest(entry: Mapping[str, Any], vocab: Mapping[str, int]) -> TextFrontend:
    """The front end that a manifest's ``frontend`` entry describes.

    Args:
        entry: ``{"kind": "text", "tokenizer": "wordpiece", "vocab": MEMBER, "lowercase": true,
            "seq_len": N}``.
        vocab: piece → id, from `read_vocab`.

    Raises:
        UsageError: another kind or tokenizer, or a bad value.
    """
    for name, wanted in (("kind", "text"), ("tokenizer", "wordpiece")):
        if entry.get(name) != wanted:
            raise UsageError(
                f"[frontend] {name} must be {wanted!r}, but received {entry.get(name)!r}"
            )
    length, lowercase = entry.get("seq_len"), entry.get("lowercase", True)
    if not isinstance(length, int) or length is True or not MIN_TOKENS <= length <= _LONGEST:
        raise UsageError(
            f"[frontend] seq_len must be a whole number from {MIN_TOKENS} to {_LONGEST}, "
            f"but received {length!r}"
        )
    if not isinstance(lowercase, bool):
        raise UsageError(f"[frontend] lowercase must be true or false, but received {lowercase!r}")
    return TextFrontend(WordPiece(vocab), length, lowercase)


def frontend_of(bundle: Bundle) -> TextFrontend:
    """The text front end of an open bundle; rows have as many tokens as its program takes.

    Raises:
        UsageError: the bundle has none, or names a vocabulary that is not in it.
    """
    model = bundle.manifest.model
    if (model.frontend or {}).get("kind") != "text":
        raise UsageError(f"{model.name} has no front end for text; give its token ids as .npz")
    entry = model.frontend or {}
    front = frontend_from_manifest(entry, read_vocab(bundle.read(str(entry.get("vocab")))))
    shapes = Shapes(bundle.manifest)
    tokens = next((shapes.places(spec).get(1) for spec in bundle.manifest.inputs), None)
    return front if tokens is None else replace(front, least=tokens.min)
