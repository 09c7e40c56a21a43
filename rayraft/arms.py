"""What a router chooses among: a mode with its settings, such as `rag:k=2` or `blend:w=0.3`.

A label without settings means the request's own. Evaluations take the same labels as modes.
"""

import re
from dataclasses import dataclass

from rayraft.errors import InputError

_LABEL = re.compile(
    r"(?P<mode>[a-z_]+)(?::k=(?P<k>[1-9]\d?))?(?::w=(?P<w>0(?:\.\d+)?|1(?:\.0+)?))?"
)


@dataclass(frozen=True)
class Arm:
    """One way to answer."""

    mode: str
    k: int | None = None
    """Passages shown; None is what the request allows."""
    w: float | None = None
    """Mode blend: share of the side that sees passages; None is the configured one."""

    @property
    def label(self) -> str:
        """As it is written."""
        k = "" if self.k is None else f":k={self.k}"
        return f"{self.mode}{k}{'' if self.w is None else f':w={self.w:g}'}"


def parse_arm(label: str) -> Arm:
    """The arm of a label.

    Raises:
        InputError: It is not of the form `mode`, `mode:k=2`, `mode:w=0.3` or `mode:k=2:w=0.3`.
    """
    match = _LABEL.fullmatch(label)
    if match is None:
        raise InputError(f"mode {label!r}: expected MODE, MODE:k=1..99 or MODE:w=0..1")
    k, w = match["k"], match["w"]
    return Arm(match["mode"], int(k) if k else None, float(w) if w else None)
