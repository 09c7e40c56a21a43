"""Which prompts a mode shows to which weights, and by how much each counts."""

import asyncio
import math

import pytest

from rayraft.answering import AdapterRef, AnswerSettings, AskRequest, answer
from rayraft.errors import InputError
from rayraft.prompt_budget import PromptBudget
from rayraft.prompts import answer_messages
from rayraft.records import Passage
from rayraft.views import MixConfig, passage_weights
from tests.unit.test_answering import PASSAGES, FakeGenerate, FakeRetrieve


def asked(mode, passages=PASSAGES, default=None, settings=None, **fields):
    """The answer, and the request for text behind it."""
    generate = FakeGenerate("##Answer: x")
    request = AskRequest(question="Fee?", mode=mode, **fields)
    result = asyncio.run(answer(request, FakeRetrieve(passages), generate, default, settings))
    return result, generate.requests[0]


def passage(number, cosine):
    return Passage(chunk_id=f"c{number}", document_id="d", text="t", dense_score=cosine)


def test_blend_weighs_the_memory_against_the_passages():
    result, request = asked(
        "blend", default=AdapterRef("a-v1", 7), retrieval_weight=0.3, reading_adapter="r-v2"
    )
    memory, reading = request.views
    assert (memory.adapter, memory.weight) == ("a-v1", 0.7)
    assert (reading.adapter, reading.weight) == ("r-v2", 0.3)
    assert memory.messages == answer_messages("Fee?", [])
    assert reading.messages == answer_messages("Fee?", PASSAGES)
    assert (result.mode, result.adapter, result.retrieval_weight) == ("blend", "a-v1", 0.3)
    assert request.combine == "blend"


@pytest.mark.parametrize(("weight", "mode"), [(0.0, "closed_book"), (1.0, "rag")])
def test_a_side_without_weight_leaves_the_other_mode_as_it_is(weight, mode):
    _, blended = asked("blend", adapter="a-v1", retrieval_weight=weight)
    pure = asked(mode, adapter="a-v1" if mode == "closed_book" else None)[1]
    assert blended == pure


def test_blend_takes_the_configured_weight_and_the_request_wins():
    settings = AnswerSettings(mix=MixConfig(retrieval_weight=0.9))
    assert asked("blend", settings=settings)[0].retrieval_weight == 0.9
    assert asked("blend", settings=settings, retrieval_weight=0.0)[0].retrieval_weight == 0.0


def test_blend_with_nothing_found_asks_the_memory_alone():
    _, request = asked("blend", passages=[], adapter="a-v1")
    ((view),) = request.views
    assert (view.adapter, view.weight, view.messages) == ("a-v1", 1.0, answer_messages("Fee?", []))


@pytest.mark.parametrize("mode", ["rag_token", "rag_sequence"])
def test_each_passage_is_read_by_itself(mode):
    result, request = asked(mode)
    assert [view.messages for view in request.views] == [
        answer_messages("Fee?", [passage]) for passage in PASSAGES
    ]
    odds = math.exp(20 * (0.7 - 0.3))
    assert [view.weight for view in request.views] == pytest.approx(
        [odds / (1 + odds), 1 / (1 + odds)]
    )
    assert request.combine == mode and result.retrieval_weight is None
    assert asked(mode, adapter="a-v1")[1].views[0].adapter == "a-v1"


def test_passages_of_separate_prompts_need_room_for_one_only():
    settings = AnswerSettings(budget=PromptBudget(max_prompt_tokens=130))
    assert len(asked("rag", settings=settings)[0].passages) == 1
    assert len(asked("rag_token", settings=settings)[1].views) == 2


def test_without_passages_a_mode_over_passages_asks_as_rag_does():
    assert asked("rag_token", passages=[])[1].views == asked("rag", passages=[])[1].views


def test_weights_of_passages_are_a_distribution_in_the_order_of_cosines():
    weights = passage_weights([passage(0, 0.1), passage(1, 0.9), passage(2, 0.5)], 20.0)
    assert sum(weights) == pytest.approx(1)
    assert weights[1] > weights[2] > weights[0] > 0
    assert passage_weights([passage(0, -1.0), passage(1, 1.0)], 1e4) == [0.0, 1.0]
    assert passage_weights([passage(0, None), passage(1, None)], 20.0) == [0.5, 0.5]
    without = passage_weights([passage(0, 0.4), passage(1, None), passage(2, 0.8)], 20.0)
    assert without[1] == without[0], "found by its words alone: as good as the worst of the others"


def test_an_adapter_for_reading_is_for_blend_alone():
    with pytest.raises(InputError, match="reading_adapter='r-v2'"):
        asked("rag", reading_adapter="r-v2")
