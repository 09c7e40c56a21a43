"""A model's replies outlive the run that asked for them: what was paid for is not asked again.

The rows of a RAFT run are kept chunk by chunk when they are done; a killed run would lose what it
was told for chunks that were not. Replies are kept as they come, and forgotten when the run is
published.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Protocol

from data_pipelines.chat_teacher import Reply
from data_pipelines.raft_staging import Staging
from data_pipelines.teachers import TEACHER_ERROR
from rayraft.prompts import Message
from rayraft.records import digest

KEY = "prompt"
FLUSH_S = 1.0


class Asker(Protocol):
    """Asks a model many things at once."""

    def replies(
        self, prompts: Mapping[str, list[Message]], as_json: bool
    ) -> Iterator[tuple[str, Reply]]:
        """The reply to each prompt by its key, in any order; a failure is a reply too."""
        ...


class KeptReplies:
    """A carrier of prompts, each of which is asked once, in this run or in one before it.

    Safe for threads; two that ask the same at the same time both ask.

    Args:
        asker: Of the model.
        staging: Of the teacher, its rows named by `KEY`.
    """

    def __init__(self, asker: Asker, staging: Staging) -> None:
        self._asker = asker
        self._staging = staging
        self._known = _replies_in(staging)
        """Those of runs before, then also those of this one."""

    def __call__(self, prompts: Sequence[list[Message]], *, as_json: bool) -> list[Reply]:
        """One reply a prompt, in order; a failure is a reply too, and asked again next time."""
        keys = [digest([prompt, as_json]) for prompt in prompts]
        missing = {
            key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in self._known
        }
        failed: dict[str, Reply] = {}
        try:
            for key, reply in self._asker.replies(missing, as_json) if missing else ():
                if reply.failed:
                    failed[key] = reply
                else:
                    self._known[key] = reply
                    self._staging.add({KEY: key, **asdict(reply)})
        finally:
            self._staging.flush()
        nothing = Reply(failed=TEACHER_ERROR)
        return [self._known.get(key) or failed.get(key, nothing) for key in keys]


def _replies_in(staging: Staging) -> dict[str, Reply]:
    return {
        key: Reply(**{name: value for name, value in row.items() if name != KEY})
        for key, row in staging.rows().items()
    }
