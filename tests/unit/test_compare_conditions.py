import json

import pytest

from rayraft.errors import InputError, NotFoundError
from rayraft.manifests import Manifest
from rayraft.records import MODES, Passage, Question
from train.compare.arms import ARMS, choose_arms, parse_arms
from train.compare.canaries import canaries, choose_answerable
from train.compare.conditions import Staged, reworded, staged_passages
from train.compare.measured import training_seconds
from train.compare.plan import corrections, not_asked, read_update

ASKED = Question(id="1", question="How long is it?", answers=["5 days"], gold_ids=["gold"])
STAGED = Staged(k=4, other_answers=["9 weeks"])


class FakeSearcher:
    """Twenty passages; those of document `gold` hold the answer."""

    version = 1

    def __init__(self):
        self.passages = [
            Passage(chunk_id=f"c{i}", document_id="gold" if i == 2 else f"d{i}", text=f"It is {i}.")
            for i in range(20)
        ]
        self.passages[2] = self.passages[2].model_copy(update={"text": "It takes 5 days."})

    def search(self, queries, k, *, where=None, groups=()):
        ids = (where or {}).get("document_id")
        found = [p for p in self.passages if ids is None or p.document_id in ids]
        return [found[:k] for _ in queries]


def shown(condition, asked=ASKED):
    return staged_passages(condition, asked, FakeSearcher(), STAGED)


@pytest.mark.parametrize("n", [0, 1, 8])
def test_so_many_distractors_stand_beside_the_golden_passage(n):
    passages = shown(f"distractors-{n}")
    assert len(passages) == n + 1
    assert sum(p.document_id == "gold" for p in passages) == 1
    assert shown(f"distractors-{n}") == passages  # the same order every time


def test_absent_shows_as_many_as_asked_for_and_none_that_is_golden():
    assert [p.document_id for p in shown("absent")] == ["d0", "d1", "d3", "d4"]


def test_a_contradiction_differs_from_the_golden_passage_in_the_answer_alone():
    passages = shown("contradicting")
    assert sorted(p.text for p in passages) == ["It takes 5 days.", "It takes 8 days."]
    assert len(shown("contradicting", ASKED.model_copy(update={"answers": ["nowhere"]}))) == 1


def test_shuffled_shows_the_same_passages():
    as_found = FakeSearcher().search(["q"], 4)[0]
    assert sorted(p.chunk_id for p in shown("shuffled")) == sorted(p.chunk_id for p in as_found)


def test_rewording_keeps_the_question():
    said = reworded("How long is the NATO guarantee?")
    assert "how long is the NATO guarantee?" in said and said != "How long"
    assert "please help me with this: NATO has what?" in reworded("NATO has what?")


def test_arms_are_those_whose_mode_exists_and_are_named_once():
    assert {arm.mode for arm in choose_arms(())} <= set(MODES)
    assert [arm.name for arm in choose_arms(parse_arms("raft, base"))] == ["base", "raft"]
    assert len({arm.name for arm in ARMS}) == len(ARMS)
    with pytest.raises(NotFoundError, match="nobody"):
        choose_arms(["nobody"])
    with pytest.raises(InputError, match="twice"):
        choose_arms(["rag", "rag"])


def test_canaries_are_the_same_every_time_and_all_different():
    made = canaries(50, "restricted", ["keepers"])
    assert made == canaries(50, "restricted", ["keepers"])
    assert len({c.document.title for c in made}) == 50
    assert all(c.secret in c.document.text and c.secret not in c.question for c in made)
    assert not {c.secret for c in made} & {c.secret for c in canaries(50, "deleted")}


def test_what_is_asked_is_not_learned_and_nor_is_what_has_no_answer():
    same = ASKED.model_copy(update={"id": "2", "question": "how long IS it"})
    other = ASKED.model_copy(update={"id": "3", "question": "How wide is it?"})
    silent = other.model_copy(update={"id": "4", "question": "Why?", "answers": []})
    assert not_asked([same, other, silent], [ASKED]) == [other]
    assert choose_answerable([silent, ASKED], 5) == [ASKED]


def test_training_seconds_are_those_of_all_logged_windows():
    curve = [{"step": 10.0, "step_s": 0.5}, {"step": 14.0, "step_s": 1.0}, {"validation_loss": 1.0}]
    assert training_seconds(Manifest(kind="adapter", curve=curve)) == pytest.approx(9.0)


def write_update(folder, **changes):
    line = ASKED.model_dump() | {"answers_before": ["3 days"], "gold_ids_before": ["gold"]}
    (folder / "documents").mkdir()
    (folder / "questions.jsonl").write_text(json.dumps(line | changes) + "\n", encoding="utf-8")
    return folder


def test_an_update_says_what_was_and_what_is(tmp_path):
    update = read_update(write_update(tmp_path))
    (fact,) = update.facts
    assert (fact.before.answers, fact.after.answers) == (["3 days"], ["5 days"])
    assert fact.change == "changed"
    (correction,) = corrections(update.facts)
    assert (correction.answer, correction.document_ids) == ("5 days", ["gold"])


@pytest.mark.parametrize(
    ("changes", "change"),
    [({"answers": []}, "disappeared"), ({"answers_before": []}, "appeared")],
)
def test_facts_come_and_go(tmp_path, changes, change):
    assert read_update(write_update(tmp_path, **changes)).facts[0].change == change


def test_a_broken_update_is_refused_by_name(tmp_path):
    with pytest.raises(NotFoundError, match="nowhere"):
        read_update(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"deleted\.txt"):
        read_update(tmp_path)
    with pytest.raises(InputError, match="line 1"):
        read_update(write_update(tmp_path, answers=3))
