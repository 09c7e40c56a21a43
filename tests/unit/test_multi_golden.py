"""Questions that need several documents: all golden passages or none, and the same total."""

import pytest

from data_pipelines.given_questions import place_questions
from data_pipelines.raft_card import data_card
from data_pipelines.raft_examples import RaftConfig, assemble_example, example_fault, with_split
from data_pipelines.raft_publishing import example_counts
from data_pipelines.teachers import WrittenQuestion
from rayraft.prompts import parse_answer
from rayraft.records import Passage, Question, RaftExample

TEXTS = {
    "hue": "Hue is a city on the Perfume River. The parcel fee in Hue is 7 euros.",
    "vinh": "Vinh has a port. In Vinh the parcel fee is 9 euros. The port is closed on Sunday.",
    "oslo": "Oslo lies in Norway. The parcel fee there is 21 euros.",
    **{
        f"o{i}": f"Shop number {i} sells {['paint', 'boats', 'lamps', 'tea'][i % 4]} in street {i}."
        for i in range(12)
    },
}
PASSAGES = {
    i: Passage(chunk_id=f"{i}#0", document_id=i, title=i.title(), text=text)
    for i, text in TEXTS.items()
}
CHUNKS = {i: [passage] for i, passage in PASSAGES.items()}


def placed(answers, gold, any_gold=False):
    question = "Which city has the higher parcel fee, Hue or Vinh?"
    asked = Question(id="q", question=question, answers=answers, gold_ids=gold, any_gold=any_gold)
    return place_questions([asked], CHUNKS, 320)


def only(found) -> tuple[str, WrittenQuestion]:
    ((chunk_id, (written,)),) = found.written.items()
    return chunk_id, written


def test_each_golden_document_gives_the_sentence_that_speaks_of_the_question():
    chunk_id, written = only(placed(["Vinh"], ["hue", "vinh"]))
    assert chunk_id == "vinh#0" and written.answer == "Vinh"
    assert written.quote == "In Vinh the parcel fee is 9 euros."
    (support,) = written.supports
    assert (support.passage.chunk_id, support.quote) == (
        "hue#0",
        "The parcel fee in Hue is 7 euros.",
    )


def test_yes_and_no_stand_nowhere_and_are_answers_all_the_same():
    chunk_id, written = only(placed(["no"], ["hue", "vinh"]))
    assert (chunk_id, written.answer, len(written.supports)) == ("hue#0", "no", 1)
    chunk_id, written = only(placed(["no"], ["hue"]))
    assert (chunk_id, written.answer, written.supports) == ("hue#0", "no", ())
    assert placed(["maybe"], ["hue"]).dropped == {"answer_not_in_document": 1}
    assert placed(["Vinh"], ["hue", "vinh", "gone"]).dropped == {"golden_document_missing": 1}
    chunk_id, written = only(placed(["Vinh"], ["hue", "vinh", "gone"], any_gold=True))
    assert (chunk_id, written.supports) == ("vinh#0", ())


def example(fraction: float, gold=("hue", "vinh", "oslo"), distractors=4) -> RaftExample:
    chunk_id, written = only(placed(["Vinh"], list(gold)))
    golden = PASSAGES[chunk_id.partition("#")[0]]
    config = RaftConfig(golden_fraction=fraction, distractors=distractors)
    hard = list(PASSAGES.values())
    return assemble_example(golden, written, hard, hard[::-1], config)


@pytest.mark.parametrize("gold", [("vinh",), ("hue", "vinh"), ("hue", "vinh", "oslo")])
@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_golden_passages_and_distractors_make_the_same_total(gold, fraction):
    made = example(fraction, gold)
    assert len(made.passages) == 5 and len({p.chunk_id for p in made.passages}) == 5
    shown = {p.chunk_id for p in made.passages} & set(made.golden_ids)
    assert len(made.golden_ids) == len(gold)
    assert shown == (set(made.golden_ids) if fraction else set())
    assert example_fault(made) is None
    quotes = parse_answer(made.completion).quotes
    assert quotes == ([made.quote, *made.further_quotes] if fraction else [])
    for chunk_id, quote in zip(made.golden_ids, quotes, strict=False):
        assert quote in PASSAGES[chunk_id.partition("#")[0]].text
    assert [made.document_id, *made.further_documents] == [
        i.partition("#")[0] for i in made.golden_ids
    ]


def test_a_missing_golden_passage_or_a_quote_of_another_one_is_a_fault():
    made = example(1.0)
    without = [p for p in made.passages if p.chunk_id != made.golden_ids[1]]
    assert example_fault(made.model_copy(update={"passages": without})) == "golden_missing"
    swapped = made.model_copy(update={"further_quotes": made.further_quotes[::-1]})
    assert example_fault(swapped) == "quote_not_verbatim"


def test_no_golden_document_is_on_both_sides_of_the_split():
    single = example(1.0, ("vinh",))
    rows = []
    for i in range(200):
        own = {"example_id": f"e{i:03}", "document_id": f"d{i % 40}"}
        further = [f"d{(i * 7 + 3) % 40}"] if i % 2 else []
        rows.append(single.model_copy(update=own | {"further_documents": further}))
    split = with_split(rows, RaftConfig(validation_fraction=0.3))
    sides = {
        side: {d for e in split if e.split == side for d in (e.document_id, *e.further_documents)}
        for side in ("train", "validation")
    }
    assert sides["validation"] and not sides["train"] & sides["validation"]
    assert 100 < len(split) < len(rows)
    assert with_split(reversed(rows), RaftConfig(validation_fraction=0.3)) == split


def test_the_card_and_the_counts_say_how_many_need_several_documents():
    rows = [example(1.0), example(0.0), example(1.0, ("vinh",))]
    config = RaftConfig(distractors=4)
    counts = example_counts(rows, config)
    assert (counts["multi_golden"], counts["short_of_distractors"]) == (2, 0)
    told = {"teacher": "given", "chunks": 3, "kb_version": 1, "restricted_chunks": 0}
    card = data_card("r", {**told, **counts, "dropped": {}}, rows, config)
    assert "- 2 examples need several documents, 3 at most; 1 of them show all" in card
