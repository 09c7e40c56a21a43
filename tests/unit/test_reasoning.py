"""Reasoning around quotes: what of a teacher's text is used, and what it costs."""

import pytest

from data_pipelines.allowance import LocalAllowance
from data_pipelines.chat_teacher import ChatTeacher, Reply
from data_pipelines.reasoning import verified_reasoning
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teacher_estimate import describe, estimate, rule_of_thumb
from data_pipelines.teachers import (
    HandedOut,
    Support,
    TeacherIdentity,
    TeacherRequest,
    TeacherResult,
    WrittenQuestion,
)
from rayraft.errors import ConfigError
from rayraft.prompts import completion, parse_answer
from rayraft.records import Passage

HUE = "The fee in Hue is 7 euros. It stays."
VINH = Passage(
    chunk_id="vinh#0", document_id="vinh", title="Vinh", text="In Vinh one pays 9 euros."
)
WRITTEN = WrittenQuestion(
    "Where is the fee lower?", "The fee in Hue is 7 euros.", "Hue", "", (Support(VINH, VINH.text),)
)
REQUEST = TeacherRequest("hue#0", "Hue", HUE, count=1, seed=0)
GOLDEN = [Passage(chunk_id="hue#0", document_id="", title="Hue", text=HUE), VINH]
GOOD = (
    "Hue asks for less: ##begin_quote##the fee in hue  is 7 euros##end_quote##, while "
    "##begin_quote## In Vinh one pays 9 euros. ##end_quote## ##Answer: Hue"
)


def test_quotes_take_the_passages_spelling_and_the_answer_is_left_to_the_form():
    text = verified_reasoning(GOOD, GOLDEN)
    assert text is not None and "##Answer" not in text
    parsed = parse_answer(completion(WRITTEN.quotes, WRITTEN.answer, text))
    assert parsed.quotes == ["The fee in Hue is 7 euros", "In Vinh one pays 9 euros."]
    assert parsed.text == "Hue"


@pytest.mark.parametrize(
    "output",
    [
        "",
        "Hue is cheaper.",
        GOOD.replace("7 euros", "8 euros"),  # no verbatim quote
        GOOD.split(", while")[0],  # one document is not quoted
        GOOD.replace("##end_quote## ##Answer", "##Answer"),  # a quote that never ends
        GOOD.replace("less", "less " * 1000),
    ],
)
def test_reasoning_that_does_not_hold_is_not_used(output):
    assert verified_reasoning(output, GOLDEN) is None


def test_nothing_is_asked_about_a_question_that_has_no_answer():
    asked = []

    def carry(prompts, as_json):
        asked.extend(prompts)
        return [Reply(GOOD, "", 11, 5)] * len(prompts)

    teacher = ChatTeacher(TeacherConfig(kind="openai", base_model="m", reasoning="written"), carry)
    none = WrittenQuestion("Who lives there?", "", "")
    handed = {"hue#0": TeacherResult([none, WRITTEN])}
    (result,) = HandedOut(TeacherIdentity("given", "d"), handed, teacher).write([REQUEST])
    assert len(asked) == 1 and result.written[0] == none
    assert result.written[1].reasoning and result.prompt_tokens == 11


def explained(reply):
    config = TeacherConfig(kind="openai", base_model="m", reasoning="written")
    teacher = ChatTeacher(config, lambda prompts, as_json: [reply] * len(prompts))
    handed = {"hue#0": TeacherResult([WRITTEN])}
    (result,) = HandedOut(TeacherIdentity("given", "d"), handed, teacher).write([REQUEST])
    return result


def test_peoples_questions_get_a_teachers_reasoning_and_keep_their_answers():
    result = explained(Reply(GOOD, "", 11, 5))
    (written,) = result.written
    assert (written.question, written.answer, written.quotes) == (
        WRITTEN.question,
        "Hue",
        WRITTEN.quotes,
    )
    assert written.reasoning.startswith("Hue asks for less") and not result.dropped
    assert (result.prompt_tokens, result.completion_tokens) == (11, 5)


def test_a_question_whose_reasoning_fails_keeps_its_quotes_and_is_counted():
    unverified = explained(Reply("Hue, of course."))
    assert unverified.written == [WRITTEN]
    assert unverified.dropped == {"reasoning_not_verified": 1}
    unasked = explained(Reply(failed="teacher_error"))
    assert unasked.written == [WRITTEN] and unasked.dropped["teacher_error"] == 1


def test_the_shipped_model_is_not_asked_for_reasoning():
    from rayraft.config import load

    with pytest.raises(ConfigError, match="shipped model"):
        load(TeacherConfig, None, ["reasoning=written"])
    assert LocalAllowance(TeacherConfig(kind="openai", reasoning="written").limits).take(1) == 0


def priced(**settings):
    given = {"kind": "openai", "base_model": "m"}
    return TeacherConfig.model_validate(given | settings)


def test_an_estimate_counts_each_prompt_once_and_says_how_it_counted():
    config = priced(
        prices={"per_million_prompt_tokens": 2.0, "per_million_completion_tokens": 10.0},
        limits={"requests_per_minute": 2, "token_budget": 100},
    )
    requests = [TeacherRequest(f"c{i}", "T", HUE, count=3, seed=0) for i in range(4)]
    made = estimate(requests, None, config, rule_of_thumb, "rule of thumb")
    assert (made.chunks, made.requests) == (4, 4 * (1 + 3))
    assert made.completion_tokens == 4 * (3 * 80 + 3 * 40)
    twice = estimate(requests * 2, None, config, rule_of_thumb, "rule of thumb")
    assert twice.prompt_tokens == 2 * made.prompt_tokens
    cost = (made.prompt_tokens * 2 + made.completion_tokens * 10) / 1e6
    assert made.cost(config) == pytest.approx(cost)
    told = describe(made, config)
    assert f"about {cost:,.2f} USD" in told and "rule of thumb" in told
    assert "at least 8.0 minutes" in told and "several runs" in told


def test_peoples_questions_cost_their_reasoning_alone():
    config = priced(reasoning="written")
    unanswerable = WrittenQuestion("Who lives there?", "", "")
    handed = {"hue#0": TeacherResult([WRITTEN, unanswerable])}
    made = estimate([REQUEST], handed, config, rule_of_thumb, "")
    assert made.requests == 1 and made.prompt_tokens > rule_of_thumb([HUE, VINH.text])
    assert "no price is configured" in describe(made, config)
