"""Questions cut from a text itself."""

import random

from train.cloze import cloze

TEXT = (
    "Normandy lies in France and was named after the Norse. In 911 the king gave land to Rollo. "
    "Later dukes descend from Rollo, and the land of 911 grew. It rains there."
)


def made(text: str, title: str = "") -> set[tuple[str, str, str]]:
    found = [cloze(text, title, random.Random(seed)) for seed in range(200)]
    return {(c.question, c.text, c.answer) for c in found if c is not None}


def test_a_phrase_of_two_sentences_is_asked_for_in_one_and_stands_in_the_other():
    everything = made(TEXT)
    assert {answer for _, _, answer in everything} == {"911", "Rollo"}
    for question, rest, answer in everything:
        assert question.endswith("?") and answer in rest
        assert len(rest) < len(TEXT) and "It rains there." in rest
    names = {question for question, _, answer in everything if answer == "Rollo"}
    assert "In 911 the king gave land to who?" in names
    assert any(q.startswith("Later dukes descend from which") for q in names)
    assert all("how " in q or "number" in q for q, _, answer in everything if answer == "911")


def test_words_of_the_title_and_capitals_that_only_begin_a_sentence_are_not_asked_for():
    assert {answer for _, _, answer in made(TEXT, "Rollo of Normandy")} == {"911"}
    assert made("There was a king. There was a queen.") == set()
    assert made("Nothing recurs in Hue. Only once.") == set()
    assert made("") == set()


def test_a_year_is_asked_for_as_one():
    questions = {q for q, _, _ in made("He came in 1066. It fell in 1066.")}
    words = ("what year", "which year", "when")
    assert questions == {f"{start} {w}?" for start in ("He came in", "It fell in") for w in words}


def test_a_long_sentence_is_cut_around_its_gap():
    words = " ".join(f"w{i}" for i in range(60))
    found = made(f"So {words} met Rollo and {words} more. Then we left Rollo.")
    assert len(found) > 2
    for question, _, _ in found:
        assert len(question.split()) <= 30
