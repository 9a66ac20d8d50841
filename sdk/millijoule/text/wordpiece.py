"""WordPiece: words to the longest pieces that a vocabulary has (Wu et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import UsageError

__all__ = ["SPECIAL", "WordPiece", "read_vocab"]

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LONGEST_WORD = 100  # longer ones are unknown
_CONTINUES = "##"


def read_vocab(data: bytes) -> dict[str, int]:
    """Piece → id from a ``vocab.txt``: one piece a line, its id is the line's number from 0.

    Raises:
        UsageError: not UTF-8, or without the special pieces.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError("[vocab] must be a text file in UTF-8, one piece a line") from error
    # only line feeds end a piece: pieces may be any character
    lines = text.removesuffix("\n").split("\n")
    vocab = {piece.removesuffix("\r"): index for index, piece in enumerate(lines)}
    missing = [piece for piece in SPECIAL if piece not in vocab]
    if missing:
        raise UsageError(f"[vocab] must have {', '.join(SPECIAL)}, but lacks {', '.join(missing)}")
    return vocab


class WordPiece:
    """Splits words into pieces of ``vocab``, greedily, longest first."""

    def __init__(self, vocab: Mapping[str, int]) -> None:
        self.vocab = dict(vocab)
        self._longest = max(map(len, vocab))
        self._unknown = self.vocab["[UNK]"]

    def ids(self, words: Iterable[str]) -> list[int]:
        """Ids of the pieces of ``words``; a word that cannot be covered is one unknown piece."""
        return [index for word in words for index in self._split(word)]

    def _split(self, word: str) -> list[int]:
        if len(word) > LONGEST_WORD:
            return [self._unknown]
        pieces: list[int] = []
        start, prefix = 0, ""
        while start < len(word):
            stop = min(len(word), start + self._longest)
            while stop > start and prefix + word[start:stop] not in self.vocab:
                stop -= 1
            if stop == start:
                return [self._unknown]
            pieces.append(self.vocab[prefix + word[start:stop]])
            start, prefix = stop, _CONTINUES
        return pieces
