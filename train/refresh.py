"""The refresh cycle: delta, examples, training from the champion, comparison, promotion.

Each step's result is an artifact under a name made of all that decides it: a refresh that was
killed goes on where it stopped, and one with nothing new does nothing.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.champions import crowned_adapters, promote
from data_pipelines.feedback import FEEDBACK, heard_until, read_feedback
from data_pipelines.kb import KnowledgeBase
from data_pipelines.progress import Advance, no_progress
from data_pipelines.raft import NothingToLearn
from rayraft.manifests import Manifest
from rayraft.models.base_files import base_digest
from rayraft.prompts import prompt_digest
from rayraft.records import Question, digest
from train.adapter import Trained, train_adapter
from train.eval_reading import read_eval_rows
from train.eval_rows import EvalRow
from train.evaluate import evaluate
from train.refresh_config import RefreshConfig
from train.refresh_examples import Delta, Examples, Gatherer, as_questions, question_sets
from train.refresh_gate import Comparison, Verdict, compare, decide
from train.refresh_report import report_files
from train.refresh_state import MODE_OF, champion_of, roles_of

FORGETS = "it has not seen the documents that were deleted"
FIRST = Verdict(True, 1.0, ["it is the first of its role"])


@dataclass(frozen=True)
class Refreshed:
    """What a refresh came to."""

    name: str
    kb_version: int
    champion: str | None
    """Before it."""
    since: int | None = None
    """Knowledge base version of that champion."""
    challenger: str | None = None
    """None: there was nothing new, and nothing was done."""
    examples: dict[str, int] = field(default_factory=dict)
    questions: int = 0
    comparisons: list[Comparison] = field(default_factory=list)
    verdict: Verdict | None = None
    uri: str = ""
    seconds: float = 0.0


def refresh(
    store: str,
    config: RefreshConfig,
    name: str,
    holdout: Sequence[Question] = (),
    progress: Advance = no_progress,
) -> Refreshed:
    """One cycle for the role of `config.train.method`; the adapter is published under `name`.

    Args:
        store: Folder or URI.
        config: How.
        name: Of the adapter; each refresh publishes its next number.
        holdout: People's questions that are never trained on.
        progress: Of the step under way.

    Raises:
        NotFoundError: There is no knowledge base.
        NothingToLearn: There is no champion yet, and no example could be written.
    """
    cycle = Cycle(store, config, name, holdout, progress)
    if cycle.is_up_to_date():
        return cycle.nothing()
    try:
        return cycle.run()
    except NothingToLearn:
        if cycle.champion is None:
            raise
        return cycle.nothing()


class Cycle:
    """One refresh; see `refresh`."""

    forgets = False
    """Whether training begins from the base model with all that still holds, and the result takes
    the champion's place however it answers: what documents that are gone have left must go."""

    champion: ArtifactRef | None
    """Before it."""

    def __init__(
        self,
        store: str,
        config: RefreshConfig,
        adapter: str,
        holdout: Sequence[Question],
        progress: Advance,
    ) -> None:
        artifacts.check_name("adapter", adapter)
        self._store, self._config, self._adapter = store, config, adapter
        self._holdout, self._progress = holdout, progress
        self._kb = KnowledgeBase.open(store)
        self._roles = roles_of(config.train)
        self.champion = champion_of(store, self._roles[0], config.train, adapter)
        heard = heard_until(self.champion)
        feedback, self._feedback_version = read_feedback(store, heard, config.raft.groups)
        since = artifacts.read_manifest(self.champion).kb_version if self.champion else None
        self._delta = Delta(self.champion, since, feedback)
        self._name = self._run_name()

    def _run_name(self) -> str:
        deciding = [
            self.champion.artifact_id if self.champion else None,
            self._kb.version,
            self._feedback_version,
            self._config.model_dump(mode="json"),
            self._adapter,
            self.forgets,
            [question.model_dump() for question in self._holdout],
            base_digest(self._config.train.base_model),
        ]
        return f"refresh-{digest(deciding)[:16]}"

    def is_up_to_date(self) -> bool:
        """Whether the champion has seen all there is; what was removed is for `erasure`."""
        if self._delta.since is None or self._delta.feedback:
            return False
        return not self._kb.delta(self._delta.since).upserted.num_rows

    def nothing(self) -> Refreshed:
        """What is said of a refresh that had nothing to do."""
        champion = self.champion.artifact_id if self.champion else None
        return Refreshed(self._name, self._kb.version, champion, self._delta.since)

    def run(self) -> Refreshed:
        """All steps."""
        began = time.perf_counter()
        config = self._config
        gatherer = Gatherer(self._store, self._kb, config, self._progress)
        made = gatherer.gather(self._delta, self._name, replay_all=self.forgets)
        trained = self._train(made)
        limit = config.gate.questions_per_set
        sets = question_sets(made, limit, by_heart=self._roles[0] == "memory")
        questions = as_questions(sets, config.raft.groups, self._holdout[:limit])
        theirs, ours = self._both(questions, trained.ref)
        verdict = self._verdict(theirs, ours)
        refreshed = Refreshed(
            name=self._name,
            kb_version=self._kb.version,
            champion=self.champion.artifact_id if self.champion else None,
            since=self._delta.since,
            challenger=trained.ref.artifact_id,
            examples={
                "changed": len(made.changed),
                "feedback": len(made.feedback),
                "replayed": len(made.replayed),
            },
            questions=len(questions),
            comparisons=compare(theirs, ours, config.evaluate.seed),
            verdict=verdict,
            uri=ArtifactRef(self._store, "refresh", self._name).uri,
            seconds=round(time.perf_counter() - began, 1),
        )
        self._publish(refreshed)
        crowned = (self._roles[0], trained.ref.artifact_id)
        if verdict.promote and crowned not in crowned_adapters(self._store):
            promote(self._store, trained.ref.artifact_id, f"refresh {self._name}")
        return refreshed

    def _verdict(self, theirs: Sequence[EvalRow], ours: Sequence[EvalRow]) -> Verdict:
        if not ours:
            return FIRST
        verdict = decide(theirs, ours, self._config.gate, self._config.evaluate.seed)
        if not self.forgets:
            return verdict
        reasons = [FORGETS, *([] if verdict.promote else verdict.reasons)]
        return Verdict(True, verdict.probability_better, reasons)

    def _train(self, made: Examples) -> Trained:
        champion = None if self.forgets else self.champion
        start = champion.artifact_id if champion else None
        settings = self._config.train.model_copy(update={"start_from": start})
        return train_adapter(
            self._store,
            settings,
            self._adapter,
            made.run.name,
            heard=[f"{FEEDBACK}{self._feedback_version}"],
        )

    def _both(
        self, questions: Sequence[Question], challenger: ArtifactRef
    ) -> tuple[list[EvalRow], list[EvalRow]]:
        """Answers of the champion and of the challenger, in the same modes.

        Without a champion the base model's with the same passages count as the champion's; what
        it knows by heart is nothing to compare with.
        """
        if self.champion is not None:
            modes = tuple(MODE_OF[role] for role in self._roles)
            return (
                self._answers(questions, "champion", modes, self.champion),
                self._answers(questions, "challenger", modes, challenger),
            )
        if self._roles[0] != "reading":
            return [], []
        base = self._answers(questions, "champion", ("rag",), None)
        theirs = [row.model_copy(update={"mode": MODE_OF["reading"]}) for row in base]
        return theirs, self._answers(questions, "challenger", (MODE_OF["reading"],), challenger)

    def _answers(
        self,
        questions: Sequence[Question],
        who: str,
        modes: tuple[str, ...],
        adapter: ArtifactRef | None,
    ) -> list[EvalRow]:
        name = f"{self._name}-{who}"
        if not artifacts.listing(self._store, "eval", name):
            chosen = adapter.artifact_id if adapter else None
            update = {"modes": modes, "adapter": chosen, "adapter_closed_book": chosen}
            settings = self._config.evaluate.model_copy(update=update)
            evaluate(self._store, questions, settings, name, self._progress)
        return read_eval_rows(artifacts.find(self._store, "eval", name))

    def _publish(self, refreshed: Refreshed) -> None:
        if artifacts.listing(self._store, "refresh", refreshed.name):
            return  # a refresh that was killed between its report and the promotion
        manifest = Manifest(
            kind="refresh",
            made_from=[
                f"raft/{refreshed.name}",
                f"adapters/{refreshed.challenger}",
                *([f"adapters/{refreshed.champion}"] if refreshed.champion else []),
                f"{FEEDBACK}{self._feedback_version}",
            ],
            kb_version=refreshed.kb_version,
            base_model=self._config.train.base_model,
            base_digest=base_digest(self._config.train.base_model),
            prompt_digest=prompt_digest(),
            config=self._config.model_dump(mode="json"),
        )
        files = report_files(refreshed)
        artifacts.publish(self._store, "refresh", refreshed.name, files, manifest)
