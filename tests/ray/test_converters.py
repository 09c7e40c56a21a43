"""HTML, PDF and DOCX to Markdown: the text is all there, in order, and nothing around it."""

import io
import re

import docx
import openpyxl
import pptx
import pytest
from fpdf import FPDF

from data_pipelines.config import ReadingConfig
from data_pipelines.converters import Unreadable, convert
from data_pipelines.sandbox import Sandbox

PAGE = """<!doctype html><html><head><title>Shop</title><style>p {color: red}</style>
<script>track("visit")</script></head><body>
<header><a href="/">Home of the shop</a></header>
<nav><ul><li>Basket</li></ul></nav>
<main><article><header><h1>Returns</h1></header>
<p>Thirty days &amp; no <a href="/fee">fee</a>.<br>Caf&eacute; cups too.</p>
<img src="x.png" alt="a cup"><aside>Buy now</aside>
<table><tr><th>Region</th><th>Days</th></tr><tr><td>Hanoi</td><td>45</td></tr></table>
<form><button>Send</button></form></article></main>
<footer>Imprint</footer></body></html>"""


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_html_keeps_the_content_and_drops_what_is_around_it() -> None:
    text = convert(".html", PAGE.encode())
    assert text.startswith("# Returns\n")
    assert "Thirty days & no fee." in text
    assert "Café cups too." in text
    assert re.search(r"\| *Hanoi *\| *45 *\|", text)
    for outside in ("Basket", "Home", "Buy", "Send", "Imprint", "track", "color", "x.png", "/fee"):
        assert outside not in text


def test_html_without_a_main_part_keeps_the_heading_of_its_header() -> None:
    page = "<body><header><h1>Fees</h1></header><p>None.</p><footer>Imprint</footer></body>"
    assert words(convert(".html", page.encode())) == ["Fees", "None"]
    plain = "<body><header>Welcome back</header><h1>Fees</h1><p>None.</p></body>"
    assert words(convert(".html", plain.encode())) == ["Fees", "None"]


def test_two_articles_are_both_kept() -> None:
    page = "<body><article><p>One.</p></article><article><p>Two.</p></article></body>"
    assert words(convert(".html", page.encode())) == ["One", "Two"]


def test_docx_keeps_headings_lists_and_tables() -> None:
    file = docx.Document()
    file.add_heading("Delivery", level=1)
    file.add_paragraph("By van, within two days.")
    file.add_heading("Islands", level=2)
    file.add_paragraph("By ferry", style="List Bullet")
    table = file.add_table(rows=2, cols=2)
    for cell, value in zip(
        [*table.rows[0].cells, *table.rows[1].cells],
        ["Island", "Days", "Phú Quốc", "6"],
        strict=True,
    ):
        cell.text = value
    file.add_paragraph("The end.")
    output = io.BytesIO()
    file.save(output)
    text = convert(".docx", output.getvalue())
    assert re.search(r"^# Delivery$", text, re.MULTILINE)
    assert re.search(r"^## Islands$", text, re.MULTILINE)
    assert re.search(r"^[*-] By ferry$", text, re.MULTILINE)
    assert re.search(r"\| *Phú Quốc *\| *6 *\|", text)
    assert words(text)[-2:] == ["The", "end"]


def test_pdf_keeps_all_words_of_all_pages_in_order() -> None:
    pdf = FPDF()
    pdf.set_font("Helvetica", size=12)
    written = []
    for page in range(3):
        pdf.add_page()
        for line in range(30):
            sentence = f"Page {page} says in line {line} that rule {page * 100 + line} holds."
            written += words(sentence)
            pdf.multi_cell(0, 6, sentence, new_x="LMARGIN", new_y="NEXT")
    assert words(convert(".pdf", bytes(pdf.output()))) == written


def test_html_that_the_parser_refuses_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="not readable as html: "):
        convert(".html", b"<p>text</p><![foo[x]]>")


@pytest.mark.parametrize("suffix", [".pdf", ".docx"])
@pytest.mark.parametrize("data", [b"", b"%PDF-1.7 cut", b"PK\x03\x04 cut", b"\x00" * 64])
def test_a_broken_file_is_unreadable_and_says_as_what(suffix: str, data: bytes) -> None:
    with pytest.raises(Unreadable, match=f"not readable as {suffix[1:]}: "):
        convert(suffix, data)


def test_pptx_keeps_titles_texts_and_tables_of_all_slides() -> None:
    deck = pptx.Presentation()
    for number in (1, 2):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = f"Slide {number}"
        slide.placeholders[1].text = f"Point {number}"
    output = io.BytesIO()
    deck.save(output)
    written = " ".join(f"Slide {n} Point {n}" for n in (1, 2))
    assert words(convert(".pptx", output.getvalue())) == written.split()
    with pytest.raises(Unreadable, match="2 pages, over max_pages=1"):
        convert(".pptx", output.getvalue(), max_pages=1)


def test_xlsx_becomes_one_table_a_sheet_without_what_is_empty() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Fees"
    for row in (
        [],
        [None, "Region", None, "Fee"],
        [None, "Ha|noi", None, 3.0],
        [None, "Huế", None, 2.5],
    ):
        sheet.append(row)
    book.create_sheet("Empty")
    output = io.BytesIO()
    book.save(output)
    assert convert(".xlsx", output.getvalue()) == (
        "## Fees\n\n| Region | Fee |\n| --- | --- |\n| Ha\\|noi | 3 |\n| Huế | 2.5 |\n"
    )


def test_a_pdf_of_too_many_pages_or_with_a_password_is_unreadable() -> None:
    pdf = FPDF()
    for _ in range(3):
        pdf.add_page()
    with pytest.raises(Unreadable, match="3 pages, over max_pages=2"):
        convert(".pdf", bytes(pdf.output()), max_pages=2)
    pdf = FPDF()
    pdf.set_encryption(owner_password="o", user_password="u")
    pdf.add_page()
    with pytest.raises(Unreadable, match="password"):
        convert(".pdf", bytes(pdf.output()))


def test_a_converter_that_hangs_or_grows_is_ended_and_the_next_document_is_read() -> None:
    sandbox = Sandbox(memory_mb=1024)
    config = ReadingConfig()
    page = b"<p>fine</p>"
    try:
        assert sandbox.convert(".html", page, config) == "fine\n"
        slow = b"<p>" + b"x <b>y</b> " * 400_000
        with pytest.raises(Unreadable, match=r"longer than timeout_s=0\.3"):
            sandbox.convert(".html", slow, ReadingConfig(timeout_s=0.3))
        assert sandbox.convert(".html", page, config) == "fine\n"
        with pytest.raises(Unreadable, match=r"max_memory_mb|died"):
            sandbox.convert(".html", "é".encode() * 2**28, config)
        with pytest.raises(Unreadable, match="not readable as pdf"):
            sandbox.convert(".pdf", b"%PDF", config)
        assert sandbox.convert(".html", page, config) == "fine\n"
    finally:
        sandbox.close()
