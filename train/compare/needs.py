"""What the user needs: bounds that a recommended arm must keep."""

from collections.abc import Mapping
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
WORDS = {
    "seconds": "a minute",
    "hourly": "an hour",
    "daily": "a day",
    "weekly": "a week",
    "monthly": "a month",
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


def needs_in_words(needs: Mapping[str, Any], currency: str) -> str:
    """What a person reads of the needs, as `Needs.model_dump` gives them."""
    if needs["freshness"] == "never":
        said = ["documents do not change"]
    else:
        within = WORDS[needs["freshness"]]
        said = [f"right again within {within} after documents change"]
    if needs["latency_p95_ms"] is not None:
        said.append(f"95 of 100 answers within {needs['latency_p95_ms']:g} ms")
    if needs["privacy"] == "strict":
        said.append("nothing restricted or deleted is ever revealed")
    if needs["budget"] is not None:
        said.append(f"at most {needs['budget']:g} {currency} a month")
    if needs["quality"] is not None:
        said.append(f"token F1 of at least {needs['quality']:g}")
    return "; ".join([*said, f"{needs['volume']:,.0f} answers a month"])
