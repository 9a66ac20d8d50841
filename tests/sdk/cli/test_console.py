"""What the command line prints is text, whatever a bundle holds."""

from __future__ import annotations

import pytest

from millijoule.cli.console import Console

ESCAPE = "\x1b[2J\x07"


def test_a_terminal_gets_nothing_to_obey(capsys: pytest.CaptureFixture[str]) -> None:
    """In lines, notes and cells of tables; letters of any language and line ends stay."""
    console = Console()
    console.text(f"line {ESCAPE}é\nnext")
    console.note(ESCAPE)
    console.table(("name", "count"), [(ESCAPE, 3)])
    printed = capsys.readouterr()
    assert printed.out == "line ?[2J?é\nnext\nname   count\n?[2J?      3\n"
    assert printed.err == "?[2J?\n"
