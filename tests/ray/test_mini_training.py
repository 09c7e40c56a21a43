"""What the shipped model is trained on, and the command that trains it, on a toy set."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import train.mini_rows
from rayraft.errors import InputError
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.tokenizer import build_tokenizer
from rayraft.models.model_manifest import verify_model
from rayraft.models.reranker import Reranker
from rayraft.prompts import BEGIN_QUOTE, completion, parse_answer
from train.config import TrainConfig
from train.features import Row
from train.mini import mixture_rows, train_mini
from train.mini_config import (
    DataSet,
    MiniTraining,
    Mixture,
    Reading,
    RerankSet,
    RerankStage,
    Stage,
    Task,
)
from train.mini_manifest import data_digest
from train.near_passages import NearPassages
from train.worker_settings import WorkerSettings

TOWNS = ["Hue", "Vinh", "Sapa", "Hanoi", "Dalat", "Hoian", "Cantho", "Bentre"]
ALL_TASKS: dict[Task, float] = {
    "read": 1,
    "read_among": 1,
    "abstain": 1,
    "write_question": 1,
    "cloze": 1,
    "look_up": 1,
    "ask_look_up": 0.5,
    "closed_book": 0.2,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two passages a town, two questions a passage, some of them unanswerable."""
    folder = tmp_path_factory.mktemp("data")
    passages: list[dict[str, Any]] = []
    questions: list[dict[str, Any]] = []
    for number, town in enumerate(TOWNS):
        for part, thing in enumerate(["bridge", "market"]):
            key = f"{town}-{thing}"
            text = (
                f"The {thing} of {town} was built in {1900 + number} by {thing}men. "
                f"It is {number + 3} {'metres' if part else 'feet'} long. They like it in {town}."
            )
            passages.append({"id": key, "title": f"Sights {number % 3}", "text": text})
            for what, answer in [
                (f"When was the {thing} of {town} built?", str(1900 + number)),
                (
                    f"How long is the {thing} in {town}?",
                    f"{number + 3} {'metres' if part else 'feet'}",
                ),
            ]:
                questions.append(
                    {"id": what, "question": what, "answers": [answer], "gold_ids": [key]}
                )
            questions.append(
                {
                    "id": f"{key}-none",
                    "question": f"Who painted the {thing} of {town}?",
                    "answers": [],
                    "gold_ids": [],
                    "meta": {"context_id": key},
                }
            )
    (folder / "toy").mkdir()
    for name, rows in [("corpus", passages), ("queries.train", questions)]:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "toy" / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def mixture(tasks: dict[Task, float], **settings: float) -> Mixture:
    sets = [DataSet(name="toy", read=1, write_question=1, abstain=1, join=1)]
    values = {"rows": 10, "tasks": tasks, "sets": sets, "held_out": 0.2, **settings}
    return Mixture.model_validate(values)


def asked(row: Row) -> tuple[str, str]:
    """The shown documents and the question."""
    shown, _, question = row["messages"][-1]["content"].rpartition("Question: ")
    return shown, question


@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_a_reading_row_quotes_a_shown_passage_that_holds_the_answer(
    data: Path, contrast: float
) -> None:
    tasks: dict[Task, float] = {"read": 1, "read_among": 3}
    for row in mixture_rows(data, mixture(tasks, contrast=contrast), 200, False):
        shown, question = asked(row)
        answer = parse_answer(row["completion"])
        assert answer.quotes and answer.text
        assert all(quote in shown and answer.text in quote for quote in answer.quotes)
        # Towns of the toy set are in the question, the quote's passage and no copy of it.
        town = next(town for town in TOWNS if town in question)
        documents = [part for part in shown.split("</document>") if answer.quotes[0] in part]
        assert any(town in document for document in documents)


@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_an_abstaining_row_shows_no_answer(data: Path, contrast: float) -> None:
    answers = {
        question["question"]: question["answers"]
        for line in (data / "toy" / "queries.train.jsonl").read_text().splitlines()
        for question in [json.loads(line)]
    }
    for row in mixture_rows(data, mixture({"abstain": 1}, contrast=contrast), 100, False):
        shown, question = asked(row)
        assert row["completion"] == completion("", "") and "<document" in shown
        assert not any(answer in shown for answer in answers[question])


def test_a_row_depends_on_seed_and_number_alone_and_held_out_questions_are_apart(
    data: Path,
) -> None:
    settings = mixture(ALL_TASKS, contrast=0.5)
    rows = mixture_rows(data, settings, 60, False)
    assert rows[:20] == mixture_rows(data, settings, 20, False)
    assert rows != mixture_rows(data, settings.model_copy(update={"seed": 1}), 60, False)
    reading = mixture({"read": 1})
    learned = {asked(row)[1] for row in mixture_rows(data, reading, 300, False)}
    kept = {asked(row)[1] for row in mixture_rows(data, reading, 300, True)}
    assert learned and kept and not learned & kept


def test_a_look_up_is_answered_by_what_is_shown_or_not_at_all(data: Path) -> None:
    rows = mixture_rows(data, mixture({"look_up": 1}, absent=0.25), 200, False)
    answers = [parse_answer(row["completion"]) for row in rows]
    for row, answer in zip(rows, answers, strict=True):
        shown, question = asked(row)
        assert question and "<document" in shown
        assert answer.abstained or (answer.text in answer.quotes[0] and answer.quotes[0] in shown)
    assert 25 < sum(answer.abstained for answer in answers) < 80
    (row,) = mixture_rows(data, mixture({"ask_look_up": 1}), 1, False)
    assert row["completion"] not in row["messages"][-1]["content"]


def test_a_cloze_is_answered_by_the_rest_of_its_passage(data: Path) -> None:
    for row in mixture_rows(data, mixture({"cloze": 1}), 100, False):
        shown, question = asked(row)
        answer = parse_answer(row["completion"])
        assert answer.quotes[0] in shown and answer.text in answer.quotes[0]
        before, after = re.split(
            r"\b(?:what|which|who)(?: one)?\b", question.rstrip("?"), maxsplit=1
        )
        # With the answer in its gap the question is a sentence, and it is not shown.
        sentence = f"{before.strip()} {answer.text} {after.strip()}".strip()
        assert answer.text in TOWNS and sentence not in shown


def test_near_passages_are_those_that_share_rare_words_with_the_question() -> None:
    passages = {
        "bridge": "The bridge of Hanoi was built in 1902.",
        "tower": "The tower of Hue was built in 1910.",
        "market": "A market sells fish.",
    }
    near = NearPassages(passages)
    assert near.nearest("When was the tower of Hue built?", 2) == ("tower", "bridge")
    assert near.nearest("Fish?", 3) == ("market",)
    assert near.nearest("Zebra?", 3) == ()


def test_hard_distractors_come_from_near_passages(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.mini_rows, "NEAR", 3)

    def shared(**settings: float) -> float:
        """Share of the question's main words that the shown passages hold, on average."""
        rows = mixture_rows(data, mixture({"abstain": 1}, unanswerable=0, **settings), 60, False)
        shares = []
        for shown, question in map(asked, rows):
            words = re.findall(r"[A-Z]\w+|\w{5,}", question)
            shares.append(sum(word in shown for word in words) / len(words))
        return sum(shares) / len(shares)

    assert shared(near=1.0, max_distractors=1) > shared(near=0.0, max_distractors=1) + 0.05


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"toy.corpus\.jsonl"):
        mixture_rows(tmp_path, mixture({"read": 1}), 1, False)


@pytest.mark.slow
def test_training_runs_stage_after_stage_and_does_not_repeat_a_finished_one(
    data: Path, tmp_path: Path, ray_cluster: None
) -> None:
    train = TrainConfig(
        base_model="mini",
        tuning="full",
        freeze=["shared"],
        global_batch_size=4,
        max_steps=2,
        workers=WorkerSettings(count=1, threads=1),
    )
    stage = Stage(mixture=mixture(ALL_TASKS, rows=8), train=train)
    ranks = RerankStage(
        sets=[RerankSet(name="toy", questions=10)], negatives=3, held_out=0.2, train=train
    )
    reading = Reading(span_candidates=3, abstain_lean=-1.0)
    config = MiniTraining(stages=[stage, stage], answer_bias=2.0, reading=reading, reranker=ranks)
    model = MiniForConditionalGeneration.from_pretrained(train_mini(config, data, tmp_path))
    assert isinstance(model, MiniForConditionalGeneration)
    assert (model.config.span_candidates, model.config.abstain_lean) == (3, -1.0)
    manifest = verify_model(tmp_path / "model")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= manifest.files.keys()
    assert manifest.config == config.model_dump(mode="json")
    assert manifest.data_digest == data_digest(data, ["toy"])
    assert manifest.metrics["step"] == 2
    record = json.loads((tmp_path / "training.json").read_text())
    assert {name: curve[-1]["step"] for name, curve in record["curves"].items()} == {
        "model": 2,
        "reranker": 2,
    }
    assert verify_model(tmp_path / "reranker").curve == record["curves"]["reranker"]
    scores = Reranker.load(str(tmp_path / "reranker")).score("Who?", ["He.", "She, and not he."])
    assert scores[0] != scores[1]
    last, shipped = (load_file(tmp_path / n / "model.safetensors") for n in ("stage-2", "model"))
    moved = {name: (shipped[name] - tensor).float() for name, tensor in last.items()}
    assert [name for name, by in moved.items() if by.any()] == ["vocabulary_bias"]
    (quote,) = build_tokenizer().encode(BEGIN_QUOTE, add_special_tokens=False)
    assert moved["vocabulary_bias"].nonzero().tolist() == [[quote]]
    assert float(moved["vocabulary_bias"][quote]) == pytest.approx(2.0, abs=0.02)
    stages = [tmp_path / name / "model.safetensors" for name in ("stage-1", "stage-reranker")]
    made = [path.stat().st_mtime_ns for path in stages]
    train_mini(config, data, tmp_path)
    assert [path.stat().st_mtime_ns for path in stages] == made
