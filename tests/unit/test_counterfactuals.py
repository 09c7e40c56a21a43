"""Copies of a golden passage: another name, another answer, nothing else."""

import random

import pytest

from rayraft.records import Passage
from train.counterfactuals import Counterfactuals, names_in

QUESTION = "How many days has a customer in Da Nang to return a kettle?"
TEXT = "In Da Nang a kettle may come back for 30 days. Receipts of Da Nang are blue."
QUOTE = "In Da Nang a kettle may come back for 30 days."
POOL = [
    (QUESTION, "30 days"),
    ("What is the fee in Son La?", "14 days"),
    ("Who runs the shop of Can Tho?", "8 weeks"),
    ("When does Bac Ninh open?", "9 hours"),
    ("Who is Ann?", "the owner"),
]


def contrast(seed: int, question: str = QUESTION, answer: str = "30 days"):
    golden = Passage(chunk_id="", document_id="", title="Returns", text=TEXT)
    rng = random.Random(seed)
    return Counterfactuals(POOL).contrast(question, golden, QUOTE, answer, 2, rng)


def test_names_are_capitalised_words_without_the_questions_first_word():
    assert names_in(QUESTION) == ["Da Nang"]
    assert names_in("What did the House of Lords tell Tesla's father?") == [
        "House of Lords",
        "Tesla",
    ]
    assert names_in("Who is the King of the North?") == ["King of the North"]
    assert names_in("where is it?") == []


@pytest.mark.parametrize("seed", range(40))
def test_a_copy_has_another_name_and_another_answer_and_is_else_the_same(seed: int):
    made = contrast(seed)
    assert made is not None and 0 < len(made.copies) <= 2
    assert made.quote in made.golden.text and "30 days" in made.quote
    assert "Da Nang" in f"{made.golden.title} {made.golden.text}"
    for copy in made.copies:
        whole = f"{copy.title} {copy.text}"
        assert "Da Nang" not in whole and "30 days" not in whole
        name = next(name for name in ("Son La", "Can Tho", "Bac Ninh") if name in whole)
        answer = next(answer for answer in ("14 days", "8 weeks", "9 hours") if answer in copy.text)
        back = copy.text.replace(name, "Da Nang").replace(answer, "30 days")
        assert back == made.golden.text
        assert copy.title.replace(name, "Da Nang") == made.golden.title


def test_in_some_the_name_stands_in_the_title_alone():
    titled = [
        made
        for seed in range(200)
        if (made := contrast(seed)) and "Da Nang" not in made.golden.text
    ]
    assert 40 < len(titled) < 120
    assert all(made.golden.title == "Da Nang" for made in titled)
    assert titled[0].quote == "In it a kettle may come back for 30 days."


def test_without_a_name_that_can_be_changed_there_is_no_contrast():
    assert contrast(0, "How many days for a kettle?") is None
    assert contrast(0, "How many days in Hanoi?") is None, "the passage does not name it"
    assert contrast(0, answer="Da Nang") is None, "the name is the answer"
