"""Words of a text, as the `tokenizers` library finds them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

from millijoule.text import split_words

SPLIT = pre_tokenizers.BertPreTokenizer()
NORMALIZE = {low: normalizers.BertNormalizer(lowercase=low) for low in (True, False)}
# Python's standard library has kept these tables: the library's are of about this Unicode
OLD = unicodedata.ucd_3_2_0
# punctuation today, a symbol then; and a mark that changed its kind
CHANGED = "\u166d\u1734"


def theirs(text: str, lowercase: bool) -> list[str]:
    return [w for w, _ in SPLIT.pre_tokenize_str(NORMALIZE[lowercase].normalize_str(text))]


def is_old(c: str) -> bool:
    """Whether a character has not changed since."""
    category = unicodedata.category(c)
    return category == OLD.category(c) and category not in ("Cn", "Cs") and c not in CHANGED


KNOWN = st.characters(exclude_categories=("Cs", "Cn")).filter(is_old)
AWKWARD = st.sampled_from(
    "aZ09 _-'.,!?#\t\n\r\x00\x0b\x85\xa0\u200b\u2028\u3000\ufeff\ufffd"
    "ÀéÅñüßΣςİıŁøĳﬁ①²\u0301中文日本語한글ไทย"
)


@pytest.mark.parametrize("lowercase", [True, False], ids=["lower", "cased"])
@given(text=st.text(st.one_of(AWKWARD, KNOWN), max_size=40))
def test_words_are_those_of_the_library(lowercase: bool, text: str) -> None:
    assert split_words(text, lowercase=lowercase) == theirs(text, lowercase)


@pytest.mark.parametrize("lowercase", [True, False], ids=["lower", "cased"])
def test_every_old_character(lowercase: bool) -> None:
    """All of the basic plane at once, each between letters; blanks between them."""
    characters = [chr(c) for c in range(0xFFFF) if not 0xD800 <= c < 0xE000 and is_old(chr(c))]
    text = " ".join(f"x{c}y" for c in characters)
    assert split_words(text, lowercase=lowercase) == theirs(text, lowercase)


def test_examples() -> None:
    assert split_words("Don't PANIC: Ünïcödé!") == ["don", "'", "t", "panic", ":", "unicode", "!"]
    assert split_words("Ünï", lowercase=False) == ["Ünï"]
    assert split_words("日本 is 2 words") == ["日", "本", "is", "2", "words"]
    # an ideograph of extension E, which the library's range misses by a typing error
    assert split_words("a\U0002b820b") == ["a", "\U0002b820", "b"]
    assert split_words(" \x00\t") == []
