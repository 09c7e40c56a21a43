"""Questions about facts of invented documents, for training the shipped reader."""

import random
from collections import Counter

import pytest

from rayraft.sentences import split_sentences
from train.lookup_forms import BEGIN, END, TableStyle
from train.lookups import Lookup, Lookups

LOOKUPS = Lookups(max_quote_chars=160)


def made(seed: int, others: int = 2, absent: bool = False) -> Lookup:
    return LOOKUPS.make(random.Random(seed), others, absent)


def test_the_answer_stands_in_a_quoted_sentence_of_the_golden_passage():
    for seed in range(500):
        one = made(seed)
        assert one.answer and one.answer in one.quote and one.quote in one.golden.text, one
        sentences = [one.golden.text[s.start : s.end] for s in split_sentences(one.golden.text)]
        assert any(one.quote in sentence for sentence in sentences), one
        assert len(one.quote) <= 160


def test_an_absent_fact_stands_nowhere_but_the_question_is_the_same_kind():
    for seed in range(500):
        one = made(seed, seed % 3, absent=True)
        assert (one.quote, one.answer) == ("", "")
        assert all(passage.text for passage in (one.golden, *one.others))
        assert one.question[0].isupper() or not one.question[0].isalpha()


def test_nothing_of_the_templates_is_left():
    for seed in range(500):
        one = made(seed, seed % 4, absent=seed % 5 == 0)
        for passage in (one.golden, *one.others):
            assert not {BEGIN, END, "{", "}"} & set(passage.text + passage.title + one.question)


def test_the_other_passages_are_about_others_in_the_same_form():
    forms: Counter[str] = Counter()
    for seed in range(300):
        one = made(seed)
        form = one.golden.text[:1] if one.golden.text[:1] in "-|" else "prose"
        forms[form] += 1
        assert len(one.others) == 2
        if form == "|":
            assert all(other.text.startswith("|") for other in one.others)
        assert one.golden.text not in [other.text for other in one.others]
    assert set(forms) == {"-", "|", "prose"}


def test_the_same_seed_gives_the_same_and_another_one_something_else():
    assert made(1) == made(1)
    assert len({made(seed).question for seed in range(100)}) > 90


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("record", "- Name: A; Price: 3\n- Name: B; Price: 4"),
        ("lines", "- Name: A\n- Price: 3\n\n- Name: B\n- Price: 4"),
        ("table", "| Name | Price |\n| --- | --- |\n| A | 3 |\n| B | 4 |"),
    ],
)
def test_rows_are_written_in_three_forms(form: str, text: str):
    rows = [{"name": "A", "price": "3"}, {"name": "B", "price": "4"}]
    assert TableStyle(form, snake=False).of(rows) == text
