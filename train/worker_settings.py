"""How many workers train, and what each of them has. Needs neither Ray nor torch."""

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from rayraft.config import Config

MOST_WORKERS = 4096


class WorkerSettings(Config):
    """How many workers, and what each of them has."""

    count: int | str = 2
    """A number, or `least..most`: then Ray Train starts with as many as the cluster holds, goes on
    with fewer when nodes are lost and with more when they come."""
    cpus_per_worker: float = Field(default=1.0, gt=0)
    gpus_per_worker: float = Field(default=0.0, ge=0, le=1)
    """At most one GPU a worker: more workers, not more GPUs per worker."""
    threads: int = Field(default=1, ge=1, le=256)
    """torch threads of one worker."""

    @field_validator("count")
    @classmethod
    def _count_in_bounds(cls, count: int | str) -> int | str:
        least, most = _range(count)
        if not 1 <= least <= most <= MOST_WORKERS:
            raise ValueError(f"{count!r}: must be within 1 to {MOST_WORKERS}, as N or N..M")
        return count

    @property
    def least(self) -> int:
        """The fewest workers that training goes on with."""
        return _range(self.count)[0]

    @property
    def most(self) -> int:
        """The most workers."""
        return _range(self.count)[1]

    @property
    def is_elastic(self) -> bool:
        """Whether the number may change while it trains."""
        return isinstance(self.count, str)

    @model_validator(mode="after")
    def _gpu_is_whole(self) -> Self:
        if self.is_elastic and self.cpus_per_worker % 1:
            raise ValueError(
                f"workers.cpus_per_worker={self.cpus_per_worker}: must be whole for "
                f"workers.count={self.count}; Ray counts places in whole numbers"
            )
        if self.gpus_per_worker not in (0.0, 1.0):
            raise ValueError(f"workers.gpus_per_worker={self.gpus_per_worker}: must be 0 or 1")
        return self


def _range(count: int | str) -> tuple[int, int]:
    if isinstance(count, int):
        return count, count
    found = re.fullmatch(r"(\d+)\.\.(\d+)", count)
    return (int(found[1]), int(found[2])) if found else (0, 0)
