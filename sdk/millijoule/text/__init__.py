"""Text to token ids on the device: WordPiece as BERT has it, in plain Python."""

from .frontend import MIN_TOKENS, TextFrontend, frontend_from_manifest, frontend_of
from .normalize import split_words
from .wordpiece import WordPiece, read_vocab

__all__ = [
    "MIN_TOKENS",
    "TextFrontend",
    "WordPiece",
    "frontend_from_manifest",
    "frontend_of",
    "read_vocab",
    "split_words",
]
