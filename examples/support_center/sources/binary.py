"""Writes DOCX and PDF files with the standard library, byte for byte the same on every machine.

Nothing is compressed and every date is fixed, so the bytes do not depend on a zlib or a clock.
Only what the corpus needs: headings, paragraphs and lists, in Latin text.
"""

from __future__ import annotations

import io
import re
import textwrap
import zipfile
from xml.sax.saxutils import escape

Block = tuple[str, str]

EPOCH = (2025, 1, 1, 0, 0, 0)
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml"
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

CONTENT_TYPES = (
    f'{XML}<Types xmlns="{PACKAGE}/content-types">'
    '<Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/word/document.xml" ContentType="{WORD}.document.main+xml"/>'
    f'<Override PartName="/word/styles.xml" ContentType="{WORD}.styles+xml"/>'
    "</Types>"
)
RELATIONS = (
    f'{XML}<Relationships xmlns="{PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{OFFICE}/officeDocument" Target="word/document.xml"/>'
    "</Relationships>"
)
DOCUMENT_RELATIONS = (
    f'{XML}<Relationships xmlns="{PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{OFFICE}/styles" Target="styles.xml"/>'
    "</Relationships>"
)
STYLES = (
    f'{XML}<w:styles xmlns:w="{W}">'
    + "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{level}">'
        f'<w:name w:val="heading {level}"/><w:rPr><w:b/><w:sz w:val="{size}"/></w:rPr></w:style>'
        for level, size in ((1, 36), (2, 28))
    )
    + "</w:styles>"
)


def docx_paragraph(kind: str, text: str) -> str:
    """Returns one `w:p` element; list items are paragraphs that begin with a dash."""
    style = f'<w:pPr><w:pStyle w:val="Heading{kind[1]}"/></w:pPr>' if kind in ("h1", "h2") else ""
    prefix = "- " if kind in ("ul", "ol") else ""
    content = escape(prefix + text)
    return f'<w:p>{style}<w:r><w:t xml:space="preserve">{content}</w:t></w:r></w:p>'


def render_docx(blocks: list[Block]) -> bytes:
    """Returns a DOCX file that holds `blocks`."""
    body = "".join(docx_paragraph(kind, text) for kind, text in blocks)
    document = f'{XML}<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'
    parts = {
        "[Content_Types].xml": CONTENT_TYPES,
        "_rels/.rels": RELATIONS,
        "word/document.xml": document,
        "word/_rels/document.xml.rels": DOCUMENT_RELATIONS,
        "word/styles.xml": STYLES,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            info = zipfile.ZipInfo(name, date_time=EPOCH)
            info.create_system = 3  # Unix; the default differs between systems
            archive.writestr(info, content)
    return buffer.getvalue()


PDF_STYLE = {"h1": ("F2", 16, 60), "h2": ("F2", 12, 76), "p": ("F1", 10, 92)}
"""Font, size in points and characters per line, by kind of block."""
PAGE_LINES_PT = 720
KEEP_TOGETHER = (
    r"(?<=[A-Za-z0-9]) (?=[A-Z0-9])|(?<=\d) (?=[a-z])|(?<=[a-z]) (?=(?:days|months|working|dong)\b)"
)
"""Spaces at which a line must not end."""


def wrap(text: str, width: int) -> list[str]:
    """Returns `text` in lines; a number and its unit, and a person's name, stay on one line."""
    glued = re.sub(KEEP_TOGETHER, "\xa0", text)
    lines = textwrap.wrap(glued, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines]


def pdf_pages(blocks: list[Block]) -> list[str]:
    """Returns the content stream of each page."""
    pages: list[str] = []
    commands: list[str] = []
    y = PAGE_LINES_PT
    for kind, text in blocks:
        font, size, width = PDF_STYLE.get(kind, PDF_STYLE["p"])
        lines = wrap(("- " if kind in ("ul", "ol") else "") + text, width)
        leading = size + 4
        if y - leading * len(lines) < 60:
            pages.append("\n".join(commands))
            commands, y = [], PAGE_LINES_PT
        for line in lines:
            shown = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
            commands.append(f"BT /{font} {size} Tf 64 {y} Td ({shown}) Tj ET")
            y -= leading
        y -= 8
    pages.append("\n".join(commands))
    return pages


def render_pdf(blocks: list[Block]) -> bytes:
    """Returns a PDF file that holds `blocks` in Helvetica on A4 pages."""
    streams = pdf_pages(blocks)
    page_ids = [5 + 2 * index for index in range(len(streams))]
    kids = " ".join(f"{page_id} 0 R" for page_id in page_ids)
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /{} /Encoding /WinAnsiEncoding >>"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(streams)} >>",
        font.format("Helvetica"),
        font.format("Helvetica-Bold"),
    ]
    for page_id, stream in zip(page_ids, streams, strict=True):
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] "
            "/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> "
            f"/Contents {page_id + 1} 0 R >>"
        )
        length = len(stream.encode("cp1252"))
        objects.append(f"<< /Length {length} >>\nstream\n{stream}\nendstream")
    output = b"%PDF-1.4\n"
    offsets: list[int] = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(output))
        output += f"{number} 0 obj\n{content}\nendobj\n".encode("cp1252")
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    count = len(objects) + 1
    output += f"xref\n0 {count}\n0000000000 65535 f \n{table}".encode()
    trailer = f"trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n"
    return output + f"{trailer}{output.index(b'xref')}\n%%EOF\n".encode()
