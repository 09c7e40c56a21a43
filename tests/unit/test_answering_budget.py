"""Which passages are shown when there is little room."""

from rayraft.prompt_budget import PromptBudget, estimate_tokens, fit_passages
from rayraft.prompts import answer_messages
from rayraft.records import Passage


def passage(number, words):
    text = " ".join(f"word{number}" for _ in range(words))
    return Passage(chunk_id=str(number), document_id="d", text=text, start=10, end=10 + len(text))


def size(question, passages):
    return sum(estimate_tokens(m["content"]) for m in answer_messages(question, passages))


def test_prompt_never_exceeds_the_budget_and_keeps_the_order():
    passages = [passage(i, 30) for i in range(10)]
    for room in (150, 200, 400, 2000):
        kept = fit_passages("Q?", passages, PromptBudget(max_prompt_tokens=room))
        assert kept == passages[: len(kept)] or len(kept) == 1
        assert not kept or size("Q?", kept) <= room
    assert len(kept) == 10


def test_a_single_passage_too_long_is_cut_at_a_word_with_its_span():
    (kept,) = fit_passages("Q?", [passage(1, 500)], PromptBudget(max_prompt_tokens=200))
    assert kept.text and kept.text.split()[-1] == "word1"
    assert kept.end == kept.start + len(kept.text)
    assert size("Q?", [kept]) <= 200


def test_no_room_at_all_shows_nothing():
    assert fit_passages("Q?", [passage(1, 5)], PromptBudget(max_prompt_tokens=1)) == []


def test_estimate_counts_every_sign_of_scripts_without_spaces():
    assert estimate_tokens("東京都") == 3
    assert estimate_tokens("a b c 12.5") == 7
