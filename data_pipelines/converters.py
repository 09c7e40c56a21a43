"""HTML, PDF and DOCX to Markdown, by markitdown's converters."""

import io
import logging
from typing import Any

from bs4 import BeautifulSoup

_NOT_CONTENT = ("nav", "aside", "form", "button", "noscript", "template", "img", "svg")


class Unreadable(Exception):
    """Why a file has no text; becomes the reason in quarantine."""


def convert(suffix: str, data: bytes) -> str:
    """Markdown of a file's content.

    Args:
        suffix: `.html`, `.pdf` or `.docx`.
        data: The content; HTML in UTF-8.

    Raises:
        Unreadable: The converter fails on it.
    """
    # Imported here: this takes seconds, and most workers read other files.
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter, HtmlConverter, PdfConverter

    converters: dict[str, Any] = {
        ".html": HtmlConverter,
        ".pdf": PdfConverter,
        ".docx": DocxConverter,
    }
    logging.getLogger("pdfminer").setLevel(logging.ERROR)  # warns about each odd font
    try:
        if suffix == ".html":
            data = main_content(data)
        result = converters[suffix]().convert(
            io.BytesIO(data), StreamInfo(extension=suffix, charset="utf-8")
        )
    except MemoryError:
        raise
    except Exception as exc:  # the libraries raise whatever a malformed file leads them to
        raise Unreadable(f"not readable as {suffix[1:]}: {type(exc).__name__}: {exc}") from exc
    return str(result.markdown).replace("\f", "\n\n").strip() + "\n"


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
