import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from tests.unit.compare_rows import SKILL, report
from train.compare.html import html, pictures
from train.compare.markdown import markdown
from train.compare.svg import Point, Series, bars, lines, scatter

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Tags that are open, those closed wrongly, and every address."""

    def __init__(self):
        super().__init__()
        self.open, self.faults, self.addresses, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append((tag, self.getpos()))

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def whole():
    return report()


@pytest.fixture(scope="module")
def page(whole):
    parsed = Page()
    parsed.feed(html(whole))
    return parsed


def test_the_report_is_json_without_nan(whole):
    assert json.loads(json.dumps(whole, allow_nan=False))["n"] == 80


def test_the_page_is_well_formed_and_needs_no_network(whole, page):
    assert page.faults == [] and page.open == []
    assert page.addresses == []
    assert "@import" not in html(whole) and "<script" not in html(whole)


def test_other_peoples_text_is_escaped(whole, page):
    assert "two <b>years</b>" in "".join(page.text)
    assert "<b>years" not in html(whole)


def test_the_page_shows_every_arm_and_the_advice_before_anything_else(whole, page):
    text = "".join(page.text)
    assert text.index("Recommended: rag") < text.index("Pictures") < text.index("side by side")
    assert all(arm in text for arm in SKILL)


def test_a_comparison_without_update_robustness_and_security_has_a_report_too():
    small = report(updated=None, robustness=None, security=None)
    parsed = Page()
    parsed.feed(html(small))
    assert parsed.faults == []
    assert "After an update" not in markdown(small) + "".join(parsed.text)


def test_every_picture_is_xml_and_stays_inside_its_frame(whole):
    for _, _, svg in pictures(whole):
        root = ElementTree.fromstring(svg)
        for node in root.iter():
            for name in ("x", "x1", "x2", "cx"):
                assert 0 <= float(node.get(name, 0)) <= 720
            for name in ("y", "y1", "y2", "cy"):
                assert 0 <= float(node.get(name, 0)) <= 300


def test_pictures_bear_what_is_missing():
    holes = [Series("<a>", 0, [None, 0.5], [None, (0.4, 0.6)])]
    for svg in (
        bars(["k", "m"], holes, "y"),
        lines(["k", "m"], holes, "y"),
        scatter([Point(0.0, 0.5, 0.4, 0.6, "free & fast", 0)], "x", "y"),
        scatter([], "x", "y"),
    ):
        ElementTree.fromstring(svg)


def test_a_higher_value_is_higher_in_the_picture():
    points = [Point(100, 0.2, 0.1, 0.3, "low", 0), Point(1000, 0.8, 0.7, 0.9, "high", 1)]
    circles = [n for n in ElementTree.fromstring(scatter(points, "x", "y")).iter("circle")]
    places = sorted((float(c.get("cx", 0)), float(c.get("cy", 0))) for c in circles)
    assert places[0][1] > places[1][1]


def test_the_markdown_has_a_line_for_every_arm_and_tables_are_even(whole):
    text = markdown(whole)
    for block in text.split("\n\n"):
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1
    assert all(f"| `{arm}` |" in text for arm in SKILL)
    assert "ROUGE" not in text  # answers are short
