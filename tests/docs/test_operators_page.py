"""docs/operators.md is what the support tables say now."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_current() -> None:
    page = runpy.run_path(str(DOCS / "make_operators.py"))["page"]()
    assert (DOCS / "operators.md").read_text(encoding="utf-8") == page, (
        "run `python docs/make_operators.py`"
    )
