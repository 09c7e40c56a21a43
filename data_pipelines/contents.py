"""The bytes of a file with its names, wherever they came from."""

from dataclasses import dataclass

from data_pipelines.files import suffix_of


@dataclass(frozen=True)
class Content:
    """A file, or a member of one."""

    document_id: str
    uri: str
    name: str
    """Its last part's extension decides how it is read."""
    data: bytes
    depth: int
    """Archives and mails around it."""

    @property
    def suffix(self) -> str:
        """The extension in small letters."""
        return suffix_of(self.name)

    def member(self, name: str, data: bytes) -> "Content":
        """A file in this one."""
        return Content(
            f"{self.document_id}!{name}", f"{self.uri}!{name}", name, data, self.depth + 1
        )
