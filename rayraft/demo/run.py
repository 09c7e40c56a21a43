"""The order of the demo: stages, service, conversation, update, table."""

import contextlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from rayraft.demo.conversation import Conversation
from rayraft.demo.corpus import (
    ROOT,
    ChangedFact,
    Corpus,
    Edit,
    changed_facts,
    find_corpus,
    known_questions,
    validation_questions,
)
from rayraft.demo.http import Service, free_port
from rayraft.demo.pace import CHUNKS, QUESTIONS, TRAIN_STEPS, measure_pace
from rayraft.demo.processes import Processes
from rayraft.demo.report import result_table
from rayraft.errors import InputError
from rayraft.questions import read_questions, sample_questions, write_questions
from rayraft.records import COMBINED_MODES, MODES

MARKER = ".rayraft-demo"
"""In a folder that a demo made, and that the next one may therefore empty."""
SEED = 0
READY_TIMEOUT_S = 180.0
GOLDEN = "golden_fraction=0.9"
"""As often as retrieval finds the golden passage here: the adapter then abstains no more often
than it must."""
WRITTEN, KNOWN = "written", "known"
"""RAFT runs: of the teacher's questions, and of people's."""
SHORT_ROWS = 5
"""Closed-book rows have no passages and steps are short: so many times as many of them are made."""
EDITED_FACTS = 8
"""Facts changed through the API where the corpus brings no update of its own."""


@dataclass(frozen=True)
class DemoSettings:
    """What the command line was told."""

    data: Path | None
    work: Path
    questions: int | None
    """None, here and in the two below: as many as the machine's pace allows."""
    chunks: int | None
    train_steps: int | None
    port: int
    overrides: dict[str, list[str]]
    """Settings of each stage, after the demo's own."""


class Demo:
    """One run of the whole path in one folder."""

    def __init__(self, settings: DemoSettings, console: Console, processes: Processes) -> None:
        self._settings = settings
        self._console = console
        self._processes = processes
        self._corpus: Corpus = find_corpus(settings.data)
        self._work = fresh_folder(settings.work)
        self._store = self._work / "store"
        self._pace = measure_pace()

    def run(self) -> None:
        """Every stage in order."""
        start = time.monotonic()
        self._console.print(self._pace.told())
        self._knowledge()
        questions = self._questions()
        self._adapters(questions)
        before = self._evaluate(questions, "before anything changes")
        was = self._evaluate_what_will_change()
        changed = self._serve_and_change()
        after = self._evaluate(changed, "right after the update: only what changed")
        self._console.print()
        self._console.print(result_table(before, was, after))
        minutes = (time.monotonic() - start) / 60
        self._console.print(
            f"The whole path took {minutes:.1f} minutes. Everything is in {self._work}."
        )

    def _knowledge(self) -> None:
        self._title("Knowledge base: read, chunk, embed, commit")
        self._ingest(self._corpus.documents)
        self._title("RAFT examples: questions, quotes, distractors")
        chunks = f"max_chunks={self._settings.chunks or self._pace.of(CHUNKS)}"
        overrides = self._settings.overrides["raft"]
        self._stage("data_pipelines", "raft", "--run", WRITTEN, chunks, GOLDEN, *overrides)

    def _adapters(self, asked: Path) -> None:
        """Fine-tunes one adapter that remembers and one that reads."""
        by_heart = WRITTEN
        if self._corpus.questions is not None:
            self._title("People's questions, to be learned by heart")
            everything = read_questions(self._corpus.questions)
            known = known_questions(
                everything, read_questions(asked), self._facts(), self._pace.share
            )
            # By heart, the passages of an answer are not shown: one says where it is from.
            known = [question.model_copy(update={"any_gold": True}) for question in known]
            file = write_questions(self._work / "known.jsonl", known)
            by_heart = KNOWN
            told = ("--run", KNOWN, "--questions", str(file), "validation_fraction=0")
            # No passage will be shown with them, so none has to be guarded against.
            self._stage("data_pipelines", "raft", *told, "guard.reranker=null", "distractors=0")
        steps = self._settings.train_steps or self._pace.of(TRAIN_STEPS)
        self._train("closed-book", by_heart, "sft.yaml", SHORT_ROWS * steps)
        self._train("raft", WRITTEN, "lora.yaml", steps)

    def _train(self, name: str, run: str, config: str, steps: int) -> None:
        self._title(f"Fine-tuning: LoRA adapter {name!r}")
        path = os.path.relpath(ROOT / "train" / config)
        told = ("--run", run, "--name", name, "--config", path, f"max_steps={steps}")
        self._stage("train", "fit", *told, *self._settings.overrides["train"])

    def _facts(self) -> list[ChangedFact]:
        """What the corpus's update will change."""
        return changed_facts(self._corpus.updates) if self._corpus.updates is not None else []

    def _questions(self) -> Path:
        if self._corpus.questions is not None:
            will_change = {fact.question.question for fact in self._facts()}
            found = read_questions(self._corpus.questions)
            found = [question for question in found if question.question not in will_change]
        else:
            found = [question for question, _ in validation_questions(self._store / "raft")]
            self._console.print(
                f"{self._corpus.documents} has no questions: taking {len(found)} of the RAFT "
                "validation split, whose documents no adapter has seen."
            )
        count = self._settings.questions or self._pace.of(QUESTIONS)
        sample = sample_questions(found, count, SEED)
        return write_questions(self._work / "questions.jsonl", sample)

    def _evaluate_what_will_change(self) -> dict[str, Any]:
        """The facts of the update before it; nothing where the corpus brings no update."""
        if not self._facts():
            return {}
        was = [fact.as_it_was() for fact in self._facts()]
        file = write_questions(self._work / "will-change.jsonl", was)
        return self._evaluate(file, "before the update: only what it will change")

    def _evaluate(self, questions: Path, when: str) -> dict[str, Any]:
        self._title(f"Evaluation: {when}")
        modes = [mode for mode in MODES if mode not in COMBINED_MODES]
        asked = ("--questions", str(questions), "--modes", ",".join(modes))
        self._stage("train", "evaluate", *asked, *self._settings.overrides["evaluate"])
        return newest_report(self._store / "evals")["modes"]  # type: ignore[no-any-return]

    def _serve_and_change(self) -> Path:
        """Serves, talks, changes documents; the questions whose answers have changed."""
        port = self._settings.port or free_port()
        log = self._work / "service.log"
        self._title(f"Service (log: {log})")
        arguments = ["serve", "run", "--store", str(self._store), "--port", str(port)]
        if self._corpus.questions is not None:
            # The service has no keys: its caller is in these groups, and may delete what they own.
            asked = read_questions(self._corpus.questions)
            groups = sorted({group for question in asked for group in question.groups})
            arguments.append(f"api.default_groups={json.dumps(groups)}")
        arguments += self._settings.overrides["serve"]
        with self._processes.service(arguments, log) as child:
            service = Service(f"http://127.0.0.1:{port}")
            seconds = service.wait_until_ready(lambda: child.poll() is None, READY_TIMEOUT_S)
            self._console.print(f"Ready on {service.url} after {seconds:.0f} s.")
            with contextlib.closing(service):
                return self._change(Conversation(service, self._console))

    def _change(self, conversation: Conversation) -> Path:
        if self._corpus.updates is not None:
            return self._apply_update(conversation, self._corpus.updates)
        return self._edit_facts(conversation)

    def _apply_update(self, conversation: Conversation, updates: Path) -> Path:
        edit = conversation.first_edit(changed_facts(updates))
        if edit is None:
            raise InputError(f"{updates}: no changed answer stands verbatim in its document")
        conversation.hold(edit)
        self._title("The rest of the update, while the service runs")
        self._ingest(updates / "documents")
        deleted = (updates / "deleted.txt").read_text(encoding="utf-8").split("\n")
        conversation.delete([document_id for document_id in deleted if document_id.strip()])
        facts = [fact.question for fact in changed_facts(updates)]
        return write_questions(self._work / "changed.jsonl", facts)

    def _edit_facts(self, conversation: Conversation) -> Path:
        edits = conversation.edit_facts(
            validation_questions(self._store / "raft"), limit=EDITED_FACTS
        )
        if not edits:
            raise InputError(f"{self._corpus.documents}: no fact that can be edited")
        conversation.hold(edits[0])
        conversation.put(edits[1:])
        return write_questions(self._work / "changed.jsonl", map(Edit.as_question, edits))

    def _ingest(self, documents: Path) -> None:
        overrides = self._settings.overrides["ingest"]
        self._stage("data_pipelines", "ingest", str(documents), *overrides)

    def _stage(self, module: str, command: str, *arguments: str) -> None:
        seconds = self._processes.stage([module, command, *arguments, "--store", str(self._store)])
        self._console.print(f"{seconds:.0f} s", style="dim")

    def _title(self, text: str) -> None:
        self._console.print()
        self._console.rule(text, align="left", style="dim")


def run_demo(settings: DemoSettings) -> None:
    """Runs the demo; every child process is gone when it returns or raises."""
    console = Console()
    with Processes(console) as processes:
        Demo(settings, console, processes).run()


def fresh_folder(work: Path) -> Path:
    """`work`, empty but for the marker.

    Raises:
        InputError: It holds something that no demo put there.
    """
    if work.exists() and not (work / MARKER).is_file() and any(work.iterdir()):
        raise InputError(f"--work {work}: holds files that are not a demo's; choose another folder")
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    (work / MARKER).touch()
    return work


def newest_report(evals: Path) -> dict[str, Any]:
    """The report of the evaluation that ended last."""
    newest = max(evals.glob("*/report.json"), key=lambda path: path.stat().st_mtime)
    report: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
    return report
