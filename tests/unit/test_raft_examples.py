import pyarrow as pa
import pytest

from data_pipelines.raft_examples import (
    RaftConfig,
    assemble_example,
    example_fault,
    to_table,
    validation_documents,
    with_split,
)
from data_pipelines.teachers import WrittenQuestion
from rayraft.prompts import ABSTAIN, parse_answer
from rayraft.records import Chunk, Passage, RaftExample

TEXT = "Parcels to Hanoi cost 15 euros. Parcels to Hue cost 20 dollars."


def golden(number=0):
    return Chunk(
        chunk_id=f"g{number}",
        document_id=f"d{number}",
        position=0,
        title="Fees",
        text=TEXT,
        start=100,
        end=100 + len(TEXT),
    )


WRITTEN = WrittenQuestion(
    "What do parcels to Hanoi cost?", "Parcels to Hanoi cost 15 euros.", "15 euros"
)
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
HARD = [
    Passage(chunk_id=f"h{i}", document_id="x", text=f"{w} is the {i}. letter of the {w} alphabet")
    for i, w in enumerate(WORDS)
]
OTHERS = [
    Passage(chunk_id=f"r{i}", document_id="y", text=f"a {w} bird sings its {w} song at {w} dawn")
    for i, w in enumerate(WORDS)
]


def example(number=0, **settings):
    return assemble_example(golden(number), WRITTEN, HARD, OTHERS, RaftConfig(**settings))


def test_golden_is_shown_among_its_distractors_with_quote_and_answer():
    made = example(golden_fraction=1.0, distractors=3)
    shown = [p.chunk_id for p in made.passages]
    assert len(shown) == 4
    assert shown.count("g0") == 1
    assert (made.golden_ids, made.has_golden, made.answer) == (["g0"], True, "15 euros")
    parsed = parse_answer(made.completion)
    assert (parsed.quotes, parsed.text) == ([WRITTEN.quote], "15 euros")
    assert example_fault(made) is None


def test_without_golden_there_are_as_many_passages_and_the_fixed_phrase():
    made = example(golden_fraction=0.0, distractors=3)
    assert len(made.passages) == 4
    assert "g0" not in [p.chunk_id for p in made.passages]
    assert (made.has_golden, made.quote, made.golden_ids) == (False, "", ["g0"])
    assert parse_answer(made.completion).abstained
    assert ABSTAIN in made.completion
    assert made.answer == "15 euros"  # what the closed-book view of the row learns
    assert example_fault(made) is None


def test_missing_golden_can_be_answered_from_memory_as_in_the_paper():
    made = example(golden_fraction=0.0, missing_golden="memory")
    assert parse_answer(made.completion).text == "15 euros"
    assert parse_answer(made.completion).quotes == []


def test_share_of_examples_with_golden_is_the_golden_fraction():
    shares = [example(i, golden_fraction=0.8).has_golden for i in range(1500)]
    assert sum(shares) / len(shares) == pytest.approx(0.8, abs=0.03)


def test_golden_stands_in_every_place_alike():
    places = [
        [p.chunk_id for p in example(i, golden_fraction=1.0).passages].index(f"g{i}")
        for i in range(800)
    ]
    assert all(places.count(place) / 800 == pytest.approx(0.25, abs=0.05) for place in range(4))


def test_example_depends_on_seed_and_chunk_alone():
    assert example(7, seed=1) == example(7, seed=1)
    assert example(7, seed=1).example_id != example(7, seed=2).example_id
    assert len({tuple(p.chunk_id for p in example(7, seed=s).passages) for s in range(20)}) > 10


def test_candidates_that_hold_the_answer_are_never_shown():
    holding = Passage(chunk_id="h9", document_id="x", text="Letters to Vinh cost 15 euros too.")
    for number in range(50):
        made = assemble_example(
            golden(number), WRITTEN, [holding, *HARD], [holding], RaftConfig(distractors=6)
        )
        assert "h9" not in [p.chunk_id for p in made.passages]


def test_a_quote_that_is_not_verbatim_is_a_fault():
    made = example(golden_fraction=1.0)
    assert example_fault(made.model_copy(update={"quote": "parcels cost 15 euros"})) == (
        "quote_not_verbatim"
    )
    assert example_fault(made.model_copy(update={"quote": ""})) == "quote_not_verbatim"
    in_distractor = made.model_copy(update={"quote": "letter of the"})
    assert example_fault(in_distractor) == "quote_not_verbatim"
    assert example_fault(made.model_copy(update={"has_golden": False})) == "golden_shown"
    assert example_fault(made.model_copy(update={"passages": []})) == "no_passage"


def test_split_is_by_document_and_order_is_by_id():
    examples = [example(i) for i in range(40)]
    split = with_split(reversed(examples), RaftConfig(validation_fraction=0.3))
    assert split == with_split(examples, RaftConfig(validation_fraction=0.3))
    assert [e.example_id for e in split] == sorted(e.example_id for e in examples)
    twice = [
        *examples,
        *[e.model_copy(update={"example_id": e.example_id + "b"}) for e in examples],
    ]
    sides: dict[str, str] = {}
    for e in with_split(twice, RaftConfig(validation_fraction=0.3)):
        assert sides.setdefault(e.document_id, e.split) == e.split
    assert set(sides.values()) == {"train", "validation"}


def test_share_of_validation_documents_is_the_fraction_and_stays_when_documents_come():
    config = RaftConfig(validation_fraction=0.2)
    some = {f"d{i}" for i in range(2000)}
    more = some | {f"e{i}" for i in range(2000)}
    held_out = validation_documents(some, config)
    assert len(held_out) / 2000 == pytest.approx(0.2, abs=0.03)
    assert validation_documents(more, config) & some == held_out


def test_small_corpora_have_a_validation_document_if_they_can():
    config = RaftConfig(validation_fraction=0.01)
    assert len(validation_documents(["a", "b", "c"], config)) == 1
    assert validation_documents(["a"], config) == set()
    assert validation_documents(["a", "b"], RaftConfig(validation_fraction=0)) == set()


def test_rows_read_back_as_the_examples_they_were():
    examples = with_split([example(i) for i in range(5)], RaftConfig())
    table = to_table(examples)
    assert pa.types.is_list(table.schema.field("passages").type)
    assert [RaftExample.model_validate(row) for row in table.to_pylist()] == [
        e.model_copy(
            update={"passages": [p.model_copy(update={"metadata": {}}) for p in e.passages]}
        )
        for e in examples
    ]
    assert to_table([]).schema == table.schema
