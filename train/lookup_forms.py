"""How records and tables are written down, for `train/lookups.py`."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BEGIN, END = "\x01", "\x02"
"""Around the value that is asked for, until its place in the text is known."""


@dataclass(frozen=True)
class TableStyle:
    """How a table is written down."""

    form: str
    snake: bool

    @classmethod
    def draw(cls, rng: random.Random) -> "TableStyle":
        """One of them."""
        return cls(rng.choice(["record", "record", "table", "lines"]), rng.random() < 0.4)

    def of(self, rows: Sequence[Mapping[str, str]]) -> str:
        """The rows, as ingestion writes records (`- key: value; key: value`), or as Markdown."""
        if not rows:
            return ""
        if self.form == "table":
            head = [f"| {' | '.join(map(self._name, rows[0]))} |", "| --- " * len(rows[0]) + "|"]
            return "\n".join([*head, *(f"| {' | '.join(row.values())} |" for row in rows)])
        pairs = [[f"{self._name(key)}: {cell}" for key, cell in row.items()] for row in rows]
        if self.form == "record":
            return "\n".join("- " + "; ".join(fields) for fields in pairs)
        return "\n\n".join("\n".join(f"- {field}" for field in fields) for fields in pairs)

    def _name(self, key: str) -> str:
        return key.replace(" ", "_").lower() if self.snake else capital(key)


def capital(text: str) -> str:
    """With a capital at its beginning."""
    at = 1 if text.startswith(BEGIN) else 0
    return text[:at] + text[at : at + 1].upper() + text[at + 1 :]


def titled(title: str, needed: bool, rng: random.Random) -> str:
    """The title, as a file's name in part of them, or none."""
    if needed or rng.random() < 0.5:
        return title
    return rng.choice(["", title.lower().replace(" ", "-").replace(":", "")])
