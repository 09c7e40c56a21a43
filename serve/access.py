"""Who may read or change a document."""

from collections.abc import Sequence
from typing import Protocol

from rayraft.errors import NotFoundError
from rayraft.records import Document, may_read


class Documents(Protocol):
    """What is asked of the knowledge base."""

    @property
    def version(self) -> int:
        """The version that is read."""
        ...

    def document(self, document_id: str) -> Document:
        """Raises NotFoundError if there is none."""
        ...


def read_document(documents: Documents, document_id: str, groups: Sequence[str]) -> Document:
    """The document, if somebody in `groups` may read it.

    Raises:
        NotFoundError: There is none, or it may not be read: the same words for both.
    """
    try:
        document = documents.document(document_id)
    except NotFoundError:
        document = None
    if document is None or not may_read(document.acl, groups):
        raise NotFoundError(f"no document {document_id!r} in version {documents.version}")
    return document


def check_may_replace(acl: Sequence[str] | None, document_id: str, groups: Sequence[str]) -> None:
    """Refuses to replace a document that the writer may not even read.

    Args:
        acl: Of the stored document; None if there is none.
        document_id: For the message.
        groups: Of the writer.

    Raises:
        NotFoundError: There is one and it may not be read.
    """
    if not may_read(acl, groups):
        raise NotFoundError(f"no document {document_id!r} that this request may replace")
