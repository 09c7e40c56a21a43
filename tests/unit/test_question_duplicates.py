"""Near-duplicate questions against the definition, pair by pair."""

import random

import pytest

from data_pipelines.question_duplicates import content_words, near_duplicates


def by_definition(questions: list[str], threshold: float) -> set[int]:
    kept: list[int] = []
    doubled = set()
    for i, question in enumerate(questions):
        ours = content_words(question)
        others = [content_words(questions[j]) for j in kept]
        if any(len(ours & other) / len(ours | other) >= threshold for other in others):
            doubled.add(i)
        else:
            kept.append(i)
    return doubled


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_what_prefix_filtering_finds_is_what_comparing_all_pairs_finds(threshold, seed):
    rng = random.Random(seed)
    words = [f"word{i}" for i in range(12)]
    questions = [" ".join(rng.choices(words, k=rng.randint(1, 7))) for _ in range(120)]
    found = near_duplicates(questions, threshold)
    assert found == by_definition(questions, threshold)
    assert 0 < len(found) < len(questions)


def test_other_question_words_ask_the_same_and_other_names_do_not():
    questions = [
        "What is the parcel fee in Hanoi?",
        "what was the parcel fee for Hanoi",
        "What is the parcel fee in Hue?",
        "What is it?",
        "Who was it?",
    ]
    assert near_duplicates(questions, 0.8) == {1}
