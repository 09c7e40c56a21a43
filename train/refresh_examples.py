"""The examples and the questions of a refresh: what changed, what people said, what was known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.kb import KnowledgeBase
from data_pipelines.lineage import current_examples, runs_behind
from data_pipelines.progress import Advance
from data_pipelines.raft import NothingToLearn, Scope, build_raft_examples
from data_pipelines.raft_publishing import JoinedRun, publish_joined
from rayraft import feedback as people
from rayraft.feedback import Feedback
from rayraft.questions import question_of
from rayraft.records import Question, RaftExample, digest
from train.refresh_config import RefreshConfig

CHANGED, UNCHANGED, HOLDOUT, FEEDBACK = "changed", "unchanged", "holdout", "feedback"
"""Sets of questions that champion and challenger are compared on."""


@dataclass(frozen=True)
class Examples:
    """What a refresh trains on, and where it comes from."""

    run: ArtifactRef
    """Everything together."""
    changed: list[RaftExample]
    """Written for chunks that changed."""
    feedback: list[RaftExample]
    replayed: list[RaftExample]
    """Drawn from what the champion was trained on."""
    known: list[RaftExample]
    """All of what the champion was trained on that still holds."""


@dataclass(frozen=True)
class Delta:
    """What is new since the champion."""

    champion: ArtifactRef | None
    since: int | None
    """Knowledge base version of the champion; None: everything is new."""
    feedback: list[Feedback]


class Gatherer:
    """Writes what has to be written, draws what is replayed, and publishes it as one run.

    Runs that exist already, of a refresh that was interrupted, are taken as they are.
    """

    def __init__(
        self, store: str, kb: KnowledgeBase, config: RefreshConfig, progress: Advance
    ) -> None:
        self._store, self._kb, self._progress = store, kb, progress
        self._config = config
        self._groups = config.raft.groups

    def gather(self, delta: Delta, name: str, replay_all: bool = False) -> Examples:
        """The run `name`, with its parts.

        Args:
            delta: What is new.
            name: Of the run.
            replay_all: Whether everything is replayed that still holds.

        Raises:
            NothingToLearn: There is no example at all.
        """
        asked = people.as_questions(delta.feedback)
        changed = self._written(f"{name}-changed", Scope(since=delta.since))
        feedback = self._written(f"{name}-feedback", Scope(asked)) if asked else None
        of_changed, of_feedback = self._current(changed), self._current(feedback)
        new = {example.example_id for example in (*of_changed, *of_feedback)}
        if not new and not replay_all:
            raise NothingToLearn(f"{self._store}: no example could be made of what is new")
        behind = runs_behind(delta.champion) if delta.champion is not None else []
        known = [
            example
            for example in current_examples(behind, self._kb, self._groups)
            if example.example_id not in new
        ]
        wanted = max(self._config.min_replay, round(self._config.replay * len(new)))
        learned = [example for example in known if example.split == "train"]
        count = len(learned) if replay_all else wanted
        replayed = draw(learned, count)
        # Not the runs behind the champion: what is replayed of them stands in this run itself.
        parts = [run for run in (changed, feedback) if run is not None]
        run = self._published(name, [*of_changed, *of_feedback, *replayed], parts)
        return Examples(run, of_changed, of_feedback, replayed, known)

    def _current(self, run: ArtifactRef | None) -> list[RaftExample]:
        return [] if run is None else current_examples([run], self._kb, self._groups)

    def _written(self, name: str, scope: Scope) -> ArtifactRef | None:
        """The run of this name, written if it is not there; None if no example can be made."""
        if not artifacts.listing(self._store, "raft", name):
            try:
                build_raft_examples(self._store, self._config.raft, name, self._progress, scope)
            except NothingToLearn:
                return None
        return artifacts.find(self._store, "raft", name)

    def _published(
        self, name: str, examples: Sequence[RaftExample], parts: Sequence[ArtifactRef]
    ) -> ArtifactRef:
        if there := artifacts.listing(self._store, "raft", name):
            return there[0]
        if not examples:
            raise NothingToLearn(f"{self._store}: no new example, and none to replay")
        ordered = sorted(examples, key=lambda example: example.example_id)
        teacher = ", ".join([*(part.name for part in parts), "and replay"])
        joined = JoinedRun(name, teacher, self._kb.version, parts)
        return publish_joined(self._store, joined, ordered, self._config.raft)


def draw(examples: Sequence[RaftExample], count: int) -> list[RaftExample]:
    """At most `count` of the examples, the same ones every time."""
    ordered = sorted(examples, key=lambda e: digest(["draw", e.example_id]))
    return ordered[:count]


def question_sets(made: Examples, limit: int, by_heart: bool) -> dict[str, list[RaftExample]]:
    """At most `limit` examples of each set to ask champion and challenger.

    A reader is asked about documents that were kept out of training, and of what changed about
    others too where those are too few; a memory only about what it was told. Of what did not
    change the same questions are asked in every refresh, as long as their documents stay.
    """
    held_out = [] if by_heart else [e for e in made.changed if e.split == "validation"]
    learned = [e for e in made.changed if e.split == "train"]
    wanted = "train" if by_heart else "validation"
    return {
        CHANGED: [*held_out, *draw(learned, limit)][:limit],
        FEEDBACK: draw(made.feedback, limit),
        UNCHANGED: draw([e for e in made.known if e.split == wanted], limit),
    }


def as_questions(
    sets: Mapping[str, Sequence[RaftExample]], groups: Sequence[str], holdout: Sequence[Question]
) -> list[Question]:
    """The questions of all sets, `kind` being the set's name; ids are unique over all of them."""
    asked = {
        name: [question_of(example, groups) for example in examples]
        for name, examples in sets.items()
    }
    return [
        question.model_copy(update={"id": f"{name}/{question.id}", "kind": name})
        for name, questions in (asked | {HOLDOUT: list(holdout)}).items()
        for question in questions
    ]
