"""Files that hold files: ZIP archives, and mails with their attachments."""

import email
import email.policy
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

from data_pipelines.config import ReadingConfig
from data_pipelines.contents import Content
from data_pipelines.converters import Unreadable
from data_pipelines.files import suffix_of
from data_pipelines.limits import check_member_name, check_size, open_archive, read_member
from data_pipelines.quarantine import Rejected
from data_pipelines.rows import build_document
from data_pipelines.sandbox import convert_apart
from data_pipelines.sources import SUFFIXES
from data_pipelines.text_formats import decode_text
from rayraft.records import Document

ReadContent = Callable[[Content, ReadingConfig], Iterator[Document | Rejected]]

_HEADERS = {"from": "From", "to": "To", "cc": "Cc"}


def read_zip(
    content: Content, config: ReadingConfig, read: ReadContent
) -> Iterator[Document | Rejected]:
    """The documents of its members; members of unknown kinds and hidden ones are left out."""
    _check_depth(content, config)
    with open_archive(content.data, config) as archive:
        for member in archive.infolist():
            hidden = any(part.startswith((".", "__MACOSX")) for part in member.filename.split("/"))
            leads_out = ".." in member.filename.replace("\\", "/").split("/")
            if member.is_dir() or (hidden and not leads_out):
                continue
            if suffix_of(member.filename) not in SUFFIXES:
                continue
            try:
                name = check_member_name(member.filename)
                check_size(member.file_size, config)
                inner = content.member(name, read_member(archive, member))
            except Unreadable as exc:
                yield Rejected(uri=f"{content.uri}!{member.filename}"[:2000], reason=str(exc)[:500])
            else:
                yield from read(inner, config)


def read_mail(
    content: Content, config: ReadingConfig, read: ReadContent
) -> Iterator[Document | Rejected]:
    """The mail, with sender, recipients and time as metadata, and its attachments.

    Raises:
        Unreadable: It is no mail, or is in too many others.
    """
    _check_depth(content, config)
    mail, text, fields = _mail(content.data, config)
    attachments = list(mail.iter_attachments()) if text is not None else []
    readable = [part for part in attachments if suffix_of(_file_name(part)) in SUFFIXES]
    if text is None or (not text.strip() and not readable):
        raise Unreadable("not a mail with a text")
    if text.strip():
        yield build_document(content.document_id, content.uri, text, fields)
    for part in readable:
        name = _file_name(part)
        try:
            data = part.get_content()
            inner = data if isinstance(data, bytes) else str(data).encode()
            member = content.member(check_member_name(name), inner)
        except (Unreadable, LookupError, ValueError, TypeError) as exc:
            yield Rejected(uri=f"{content.uri}!{name}"[:2000], reason=str(exc)[:500])
        else:
            yield from read(member, config)


def _mail(data: bytes, config: ReadingConfig) -> tuple[EmailMessage, str | None, dict[str, Any]]:
    try:
        mail = email.message_from_bytes(data, policy=email.policy.default)
        if not mail.keys():
            return mail, None, {}
        subject = " ".join(str(mail.get("Subject") or "").split())
        fields = {name: str(mail[header]) for name, header in _HEADERS.items() if mail[header]}
        body = _body(mail, config)
        date = mail.get("Date")
    except Unreadable:
        raise
    except Exception as exc:  # the parser's own defects on malformed headers: many types
        raise Unreadable(f"not readable as mail: {type(exc).__name__}: {exc}") from exc
    if time := _date(str(date or "")):
        fields["date"] = time
    head = f"# {subject}\n\n" if subject and body.strip() else ""
    return mail, head + body, {**fields, "title": subject or "mail"}


def _body(mail: EmailMessage, config: ReadingConfig) -> str:
    part = mail.get_body(preferencelist=("plain", "html"))
    if part is None:
        return ""
    try:
        text = part.get_content()
    except (LookupError, ValueError):  # an unknown character set
        raw = part.get_payload(decode=True)
        text = decode_text(raw if isinstance(raw, bytes) else b"")
    if part.get_content_type() == "text/html":
        return convert_apart(".html", str(text).encode(errors="replace"), config)
    return str(text).replace("\r\n", "\n").strip() + "\n"


def _date(text: str) -> str:
    try:
        return parsedate_to_datetime(text).isoformat()
    except (ValueError, TypeError, OverflowError):
        return ""


def _file_name(part: Any) -> str:
    if part.get_content_type() == "message/rfc822":
        return str(part.get_filename() or "attached.eml")
    return str(part.get_filename() or "")


def _check_depth(content: Content, config: ReadingConfig) -> None:
    if content.depth > config.max_nesting:
        raise Unreadable(f"nested {content.depth} deep, over max_nesting={config.max_nesting}")
