"""HTML, PDF, DOCX, PPTX, XLSX and EPUB to Markdown, by markitdown's converters and openpyxl."""

import io
import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

from bs4 import BeautifulSoup

_NOT_CONTENT = ("nav", "aside", "form", "button", "noscript", "template", "img", "svg")
_COMMENT = re.compile(r"<!--.*?-->\s*", re.DOTALL)
_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)")


class Unreadable(Exception):
    """Why a file has no text; becomes the reason in quarantine."""


def convert(suffix: str, data: bytes, max_pages: int = 10_000) -> str:
    """Markdown of a file's content.

    Args:
        suffix: One of `CONVERTERS`.
        data: The content; HTML in UTF-8.
        max_pages: Of a PDF, slides of a PPTX, sheets of an XLSX.

    Raises:
        Unreadable: The converter fails on it, or it has too many pages.
    """
    logging.getLogger("pdfminer").setLevel(logging.ERROR)  # warns about each odd font
    try:
        text = CONVERTERS[suffix](suffix, data, max_pages)
    except (MemoryError, Unreadable):
        raise
    except Exception as exc:  # the libraries raise whatever a malformed file leads them to
        raise Unreadable(f"not readable as {suffix[1:]}: {type(exc).__name__}: {exc}") from exc
    return text.replace("\f", "\n\n").strip() + "\n"


def main_content(html: bytes) -> bytes:
    """The page's main part, without navigation, pictures and the targets of links."""
    soup = BeautifulSoup(html, "html.parser", from_encoding="utf-8")
    for element in soup(_NOT_CONTENT):
        element.decompose()
    for link in soup("a"):
        link.unwrap()
    mains = soup("main") or soup("article")
    main = mains[0] if len(mains) == 1 else soup.find("body") or soup
    if main.name != "body":
        return str(main).encode()
    for name in ("header", "footer"):  # of the page; those inside an article are part of it
        for element in main.find_all(name, recursive=False):
            if not element.find(["h1", "h2"]):
                element.decompose()
    return str(main).encode()


def _markitdown(suffix: str, data: bytes) -> str:
    # Imported here: this takes seconds, and most workers read other files.
    from markitdown import StreamInfo, converters

    classes: dict[str, Any] = {
        ".html": converters.HtmlConverter,
        ".pdf": converters.PdfConverter,
        ".docx": converters.DocxConverter,
        ".pptx": converters.PptxConverter,
        ".epub": converters.EpubConverter,
    }
    info = StreamInfo(extension=suffix, charset="utf-8")
    return str(classes[suffix]().convert(io.BytesIO(data), info).markdown)


def _html(suffix: str, data: bytes, max_pages: int) -> str:
    return _markitdown(suffix, main_content(data))


def _office(suffix: str, data: bytes, max_pages: int) -> str:
    return _PICTURE.sub("", _markitdown(suffix, data))


def _pdf(suffix: str, data: bytes, max_pages: int) -> str:
    import pypdfium2

    with pypdfium2.PdfDocument(data) as document:
        _check_pages(len(document), max_pages)
        try:
            return _markitdown(suffix, data)
        except MemoryError:
            raise
        except Exception:  # it is stricter than browsers are; the text alone is better than nothing
            pages = [page.get_textpage().get_text_bounded() for page in document]
            return "\n\n".join(pages).replace("\r\n", "\n")


def _pptx(suffix: str, data: bytes, max_pages: int) -> str:
    import pptx

    _check_pages(len(pptx.Presentation(io.BytesIO(data)).slides), max_pages)
    return _PICTURE.sub("", _COMMENT.sub("", _markitdown(suffix, data)))


def _xlsx(suffix: str, data: bytes, max_pages: int) -> str:
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    _check_pages(len(book.worksheets), max_pages)
    parts = []
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # some writers say A1:A1
        if table := markdown_table(sheet.iter_rows(values_only=True)):
            parts.append(f"## {sheet.title}\n\n{table}")
    return "\n\n".join(parts)


def markdown_table(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as a Markdown table, without empty rows and columns; the first is the head."""
    cells = [[_cell(value) for value in row] for row in rows]
    cells = [row for row in cells if any(row)]
    width = max((len(row) for row in cells), default=0)
    cells = [row + [""] * (width - len(row)) for row in cells]
    used = [column for column in range(width) if any(row[column] for row in cells)]
    lines = [f"| {' | '.join(row[column] for column in used)} |" for row in cells]
    if lines:
        lines.insert(1, "|" + " --- |" * len(used))
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).removesuffix("T00:00:00")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return " ".join(str(value).split()).replace("|", "\\|")


def _check_pages(pages: int, max_pages: int) -> None:
    if pages > max_pages:
        raise Unreadable(f"{pages} pages, over max_pages={max_pages}")


CONVERTERS: dict[str, Callable[[str, bytes, int], str]] = {
    ".html": _html,
    ".pdf": _pdf,
    ".docx": _office,
    ".pptx": _pptx,
    ".xlsx": _xlsx,
    ".epub": _office,
}
