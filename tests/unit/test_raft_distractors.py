import random

import pytest

from data_pipelines.distractors import choose_distractors, is_near_duplicate, may_distract
from rayraft.records import Chunk, Passage


def chunk(text, chunk_id="golden"):
    return Chunk(chunk_id=chunk_id, document_id="d", position=0, text=text, start=0, end=len(text))


def passage(chunk_id, text=None):
    text = text or f"{chunk_id} speaks of topic number {chunk_id} and of nothing else at all"
    return Passage(chunk_id=chunk_id, document_id=f"doc-{chunk_id}", text=text)


GOLDEN = chunk("The standard delivery fee in Hanoi is 15 euros for every parcel up to 5 kilograms.")


def test_golden_is_never_its_own_distractor():
    assert not may_distract(passage("golden", "something else entirely"), GOLDEN, "15 euros")


@pytest.mark.parametrize("text", ["In Hue it is 15 Euros.", "(15 euros)", "the 15-euros"])
def test_a_passage_that_holds_the_answer_is_no_distractor(text):
    usable = may_distract(passage("p", text), GOLDEN, "15 euros")
    assert usable == ("-" in text)  # "15euros" after SQuAD's normalisation: another word


def test_an_answer_within_a_longer_word_does_not_count():
    assert may_distract(passage("p", "There are 1555 shops in towns."), GOLDEN, "15")


@pytest.mark.parametrize(
    "text",
    [
        GOLDEN.text,
        GOLDEN.text.upper() + "!",
        GOLDEN.text.replace("every", "each"),
        "The standard delivery fee in Hanoi is",
        GOLDEN.text + " " + GOLDEN.text,
    ],
)
def test_a_near_copy_of_the_golden_text_is_no_distractor(text):
    assert not may_distract(passage("p", text), GOLDEN, "unrelated answer")


def test_a_text_on_the_same_subject_is_no_near_duplicate():
    other = "The standard delivery time in Hanoi is two days for all parcels, and three in Hue."
    assert not is_near_duplicate(GOLDEN.text, other)


def test_the_same_rule_of_another_region_is_a_distractor():
    other = GOLDEN.text.replace("Hanoi", "Hue").replace("15", "20")
    assert may_distract(passage("p", other), GOLDEN, "15 euros")


HARD = [passage(f"h{i}") for i in range(6)]
OTHERS = [passage(f"r{i}") for i in range(6)]


def ids(passages):
    return [p.chunk_id for p in passages]


def test_hard_ones_come_best_first_and_random_ones_fill_their_share():
    rng = random.Random(0)
    assert ids(choose_distractors(HARD, OTHERS, 4, 0.5, rng)) == ["h0", "h1", "r0", "r1"]
    assert ids(choose_distractors(HARD, OTHERS, 3, 0.0, rng)) == ["h0", "h1", "h2"]
    assert ids(choose_distractors(HARD, OTHERS, 3, 1.0, rng)) == ["r0", "r1", "r2"]
    assert choose_distractors(HARD, OTHERS, 0, 0.5, rng) == []


def test_mean_number_of_random_ones_is_the_share():
    chosen = [
        choose_distractors(HARD, OTHERS, 3, 0.25, random.Random(seed)) for seed in range(1000)
    ]
    n_random = sum(p.chunk_id.startswith("r") for passages in chosen for p in passages)
    assert n_random / 3000 == pytest.approx(0.25, abs=0.02)


def test_one_source_fills_in_for_the_other():
    rng = random.Random(0)
    assert ids(choose_distractors(HARD[:1], OTHERS, 3, 0.0, rng)) == ["h0", "r0", "r1"]
    assert ids(choose_distractors(HARD, [], 3, 1.0, rng)) == ["h0", "h1", "h2"]
    assert ids(choose_distractors(HARD[:1], OTHERS[:1], 3, 0.0, rng)) == ["h0", "r0"]


def test_no_passage_comes_twice_even_from_both_sources():
    copy = passage("copy", HARD[0].text.upper())
    chosen = choose_distractors([HARD[0], copy], [HARD[0], OTHERS[0]], 4, 0.5, random.Random(1))
    assert sorted(ids(chosen)) == ["h0", "r0"]
