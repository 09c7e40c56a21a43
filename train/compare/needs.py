"""What the user needs: bounds that a recommended arm must keep."""

from typing import Any, Literal

from pydantic import Field

from rayraft.config import Config, apply_overrides, validate
from rayraft.errors import InputError

Freshness = Literal["seconds", "hourly", "daily", "weekly", "monthly", "never"]
SECONDS: dict[str, float] = {
    "seconds": 60.0,
    "hourly": 3600.0,
    "daily": 86_400.0,
    "weekly": 7 * 86_400.0,
    "monthly": 30 * 86_400.0,
}
MONTH_S = 30 * 86_400.0


class Needs(Config):
    """Each need that is not stated bounds nothing."""

    freshness: Freshness = "never"
    """After a change of the documents answers must be right again within this time (seconds: one
    minute); never: the documents do not change."""
    latency_p95_ms: float | None = Field(default=None, gt=0)
    """19 of 20 answers come within it."""
    privacy: Literal["normal", "strict"] = "normal"
    """strict: nothing restricted or deleted may be revealed, not once in the test."""
    budget: float | None = Field(default=None, gt=0)
    """Money for a month: answers, training and refreshes, by the price table."""
    volume: float = Field(default=100_000, ge=0)
    """Answers in a month."""
    quality: float | None = Field(default=None, gt=0, le=1)
    """Least token F1."""

    @property
    def right_within_s(self) -> float | None:
        """Seconds after a change; None: documents do not change."""
        return SECONDS.get(self.freshness)


def parse_needs(text: str | None) -> Needs:
    """The needs in `name=value,name=value`.

    Raises:
        InputError: A part is not `name=value`.
        ConfigError: An unknown name or a value out of bounds.
    """
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    for part in parts:
        if "=" not in part:
            raise InputError(f"--needs {part!r}: expected name=value, such as freshness=daily")
    values: dict[str, Any] = {}
    apply_overrides(values, parts)
    return validate(Needs, values, "--needs")
