"""The HTML report: self-contained, well-formed, escaped, labelled."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from millijoule.errors import UsageError
from millijoule.profiling import Profile
from millijoule.report.charts import histogram, line
from millijoule.report.html import render

VOID = {"meta", "line", "rect", "path", "br", "img", "link"}


class Page(HTMLParser):
    """Collects tags and text, and checks that elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_section(complete: dict[str, Any]) -> None:
    page = Page(render([complete]))
    for words in (
        "Median latency",
        "Real-time load",
        "Sustained run",
        "Where the time goes",
        "Spike rates",
        "Estimated with horowitz-isscc14-45nm",
        "CPU package-0; board excluded",
        "Conditions",
        "2.10 ± 0.60 mJ",
    ):
        assert words in page.text, words


def test_nothing_is_loaded_from_elsewhere(complete: dict[str, Any]) -> None:
    text = render([complete])
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    assert "url(" not in text
    assert "@import" not in text


def test_pictures_have_words(complete: dict[str, Any]) -> None:
    page = Page(render([complete]))
    pictures = [value for name, value in page.attributes if (name, value) == ("role", "img")]
    labels = [value for name, value in page.attributes if name == "aria-label" and value]
    assert len(labels) >= len(pictures) >= 3


def test_names_are_escaped(profile: dict[str, Any]) -> None:
    profile["bundle"]["model"]["name"] = "<script>alert(1)</script>"
    profile["layers"]["layers"][0]["name"] = "<b>layer</b>"
    page = Page(render([profile]))
    assert not {"script", "b"} & set(page.tags)
    assert "<script>alert(1)</script>" in page.text


def test_unavailable_energy_gives_the_reason(profile: dict[str, Any]) -> None:
    assert "energy measurement is switched off" in Page(render([profile])).text


def test_without_layers(profile: dict[str, Any]) -> None:
    profile |= {"layers": None, "operations": None, "run": None}
    profile["energy"]["estimated"] = []
    page = Page(render([profile]))
    assert "Where the time goes" not in page.text
    assert "Median latency" in page.text


def test_several_profiles_begin_with_a_comparison(
    profile: dict[str, Any], complete: dict[str, Any]
) -> None:
    page = Page(render([profile, complete], ["before", "after"]))
    assert page.text.index("Comparison") < page.text.index("Median latency")
    assert page.tags.count("article") == 2


def test_written_at_once(profile: dict[str, Any], tmp_path: Path) -> None:
    Profile(profile).to_html(tmp_path / "p.html")
    assert (tmp_path / "p.html").read_text().startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir()] == ["p.html"]


def test_without_jinja(profile: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UsageError, match=r"needs jinja2; install the extra: pip install"):
        render([profile])


def test_histogram_counts_what_it_leaves_out() -> None:
    samples = [*range(1_000_000, 1_001_000), 50_000_000]
    chart = histogram(samples, 1.0005, 1.001)
    assert chart.beyond == 10
    assert max(bar.height for bar in chart.bars) == pytest.approx(chart.base - chart.top)
    assert all(0 <= bar.x <= chart.width for bar in chart.bars)


def test_histogram_of_one_value() -> None:
    chart = histogram([5, 5, 5], 5e-6, 5e-6)
    assert chart.bars
    assert chart.beyond == 0


def test_line_spans_the_picture() -> None:
    chart = line([0.0, 1.0, 2.0], [1.0, 2.0, 1.0])
    assert chart.path.startswith("M8.0,")
    assert "632.0," in chart.path
