"""Text to words as BERT's normalizer and pre-tokenizer do it (Devlin et al. 2018).

In order: control characters go and white space becomes blanks; every CJK ideograph becomes a word
of its own; for lower-cased models accents are stripped (NFD without nonspacing marks) and each
character is lower-cased by itself; words are split at white space, and around every punctuation
character. Written from the description; equal to the `tokenizers` library's BertNormalizer and
BertPreTokenizer wherever both know a character's category (the library's tables are of an older
Unicode).
"""

from __future__ import annotations

import unicodedata

__all__ = ["split_words"]

# blocks of ideographs: unified, extensions A to E, compatibility and its supplement
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
_BLANKS = "\t\n\r"  # control characters that separate words
_REPLACEMENT = "\ufffd"


def split_words(text: str, *, lowercase: bool = True) -> list[str]:
    """Words of ``text`` in order; punctuation characters and ideographs are words."""
    text = "".join(map(_cleaned, text))
    if lowercase:
        text = "".join(c for c in unicodedata.normalize("NFD", text) if not _is_mark(c))
        # one by one: a sigma at the end of a word is like any other
        text = "".join(c.lower() for c in text)
    words: list[str] = []
    for part in text.split():
        words += _split_punctuation(part)
    return words


def _cleaned(c: str) -> str:
    """What a character becomes: nothing, a blank, itself, or itself between blanks."""
    if c in _BLANKS:
        return " "
    if c == _REPLACEMENT or unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs"):
        return ""
    if c.isspace():
        return " "
    return f" {c} " if _is_ideograph(ord(c)) else c


def _is_ideograph(code: int) -> bool:
    return code >= 0x3400 and any(first <= code <= last for first, last in _IDEOGRAPHS)


def _is_mark(c: str) -> bool:
    return unicodedata.category(c) == "Mn"


def _is_punctuation(c: str) -> bool:
    """Every printing ASCII character but letters and digits, and Unicode's punctuation."""
    return ("!" <= c <= "~" and not c.isalnum()) or unicodedata.category(c).startswith("P")


def _split_punctuation(word: str) -> list[str]:
    parts, start = [], 0
    for i, c in enumerate(word):
        if _is_punctuation(c):
            parts += [word[start:i], c]
            start = i + 1
    return [part for part in (*parts, word[start:]) if part]
