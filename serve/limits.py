"""Rate limits per API key: requests and tokens per minute, as buckets that fill steadily.

Tokens are known when an answer is there, so a request is admitted while the bucket is not empty and
pays afterwards: a debt is waited for by the next request. Knows nothing of HTTP.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from serve.errors import RateLimited
from serve.keys import ApiKey


class Bucket:
    """Holds at most `per_minute`, fills by that much a minute, and starts full."""

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self._level = per_minute
        self._at = now

    def fill(self, now: float) -> float:
        """The level now; below zero it is a debt."""
        self._level = min(self.per_minute, self._level + (now - self._at) * self.per_minute / 60)
        self._at = now
        return self._level

    def resize(self, per_minute: float) -> None:
        """Another size; what was spent stays spent, in proportion."""
        self._level *= per_minute / self.per_minute
        self.per_minute = per_minute

    def spend(self, amount: float) -> None:
        """Takes out, into debt if need be."""
        self._level -= amount

    def seconds_until(self, level: float) -> float:
        """How long until the bucket holds `level` again."""
        return max(0.0, (level - self._level) * 60 / self.per_minute)


@dataclass(frozen=True)
class _Kind:
    name: str
    """As in OpenAI's headers."""
    needed: float
    """A request is admitted at this level."""


_KINDS = (_Kind("requests", 1), _Kind("tokens", 1))


class Limiter:
    """The buckets of all keys with limits.

    Args:
        share: The part of a limit that is this process's; it changes as replicas come and go.
        clock: Seconds that never go back.
    """

    def __init__(
        self, share: Callable[[], float] = lambda: 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._share = share
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def admit(self, key: ApiKey) -> None:
        """Takes one request out.

        Raises:
            RateLimited: A bucket of the key is empty; says for how long.
        """
        buckets = self._buckets_of(key)
        for kind, bucket in buckets:
            if bucket.fill(self._clock()) < kind.needed:
                wait_s = math.ceil(max(1.0, bucket.seconds_until(kind.needed)))
                limit = _limit(key, kind)
                raise RateLimited(
                    f"rate limit of key {key.name}: {limit} {kind.name} per minute; "
                    f"try again in {wait_s} s",
                    wait_s,
                    self.headers(key),
                )
        for kind, bucket in buckets:
            if kind.name == "requests":
                bucket.spend(1)

    def spend_tokens(self, key: ApiKey, tokens: int) -> None:
        """Takes the tokens of an answer out."""
        for kind, bucket in self._buckets_of(key):
            if kind.name == "tokens":
                bucket.spend(tokens)

    def headers(self, key: ApiKey) -> dict[str, str]:
        """What OpenAI's services say of limits in every answer."""
        said = {}
        for kind, bucket in self._buckets_of(key):
            level = bucket.fill(self._clock())
            said[f"x-ratelimit-limit-{kind.name}"] = str(_limit(key, kind))
            said[f"x-ratelimit-remaining-{kind.name}"] = str(max(0, math.floor(level)))
            reset = math.ceil(bucket.seconds_until(bucket.per_minute) * 1000)
            said[f"x-ratelimit-reset-{kind.name}"] = f"{reset}ms"
        return said

    def _buckets_of(self, key: ApiKey) -> list[tuple[_Kind, Bucket]]:
        found = []
        for kind in _KINDS:
            limit = _limit(key, kind)
            if limit is not None:
                found.append((kind, self._bucket(key, kind, limit)))
        return found

    def _bucket(self, key: ApiKey, kind: _Kind, limit: int) -> Bucket:
        # A share below one request would admit none for ever.
        size = max(1.0, limit * self._share())
        bucket = self._buckets.setdefault((key.sha256, kind.name), Bucket(size, self._clock()))
        if bucket.per_minute != size:
            bucket.fill(self._clock())
            bucket.resize(size)
        return bucket


def _limit(key: ApiKey, kind: _Kind) -> int | None:
    return key.requests_per_minute if kind.name == "requests" else key.tokens_per_minute
