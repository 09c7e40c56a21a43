"""Mode auto with a learned router, end to end through the answering logic."""

import asyncio

import pytest

from rayraft.answering import AnswerSettings, answer
from rayraft.learned_router import ArmModel
from rayraft.prompts import completion
from rayraft.protocols import AdapterRef, AskRequest, GeneratedPiece, Retrieved
from rayraft.records import Passage
from rayraft.route_features import (
    FEATURES,
    draft_features,
    question_features,
    retrieval_features,
)
from tests.unit.small_router import router


class Seams:
    """Retrieval of passages with one cosine; a model that says how it was asked."""

    def __init__(self, cosine, n=6):
        self.asked, self.ks = [], []
        self.found = [
            Passage(
                chunk_id=f"c{i}",
                document_id=f"d{i}",
                text=f"The fee is {i} EUR.",
                score=1 / (i + 1),
                dense_score=cosine - i / 100,
                sparse_score=5.0 - i,
                updated_in=i,
            )
            for i in range(n)
        ]

    async def retrieve(self, question, k, where, groups, min_kb_version):
        self.ks.append(k)
        return Retrieved(self.found[:k], 7)

    async def generate(self, request):
        (view,) = request.views
        messages, adapter = view.messages, view.adapter
        shown = messages[-1]["content"].count("<document ")
        self.asked.append((shown, adapter))
        yield GeneratedPiece(completion("", f"{shown} by {adapter}"))
        yield GeneratedPiece("", 10 + shown, 2, -0.5)


def ask(cosine, learned, default=None, seams=None, **request):
    seams = seams or Seams(cosine)
    settings = AnswerSettings(learned=learned)
    asked = AskRequest(question="What is the fee?", **request)
    given = asyncio.run(answer(asked, seams.retrieve, seams.generate, default, settings))
    return given, seams


def test_the_router_decides_and_says_why():
    given, _ = ask(0.9, router(name="r1"))
    assert (given.mode, given.text, given.kb_version) == ("rag", "4 by None", 7)
    assert given.routing.chosen_by == "router" and given.routing.router == "r1"
    assert given.routing.k == 4 and given.routing.tokens == {"generate": 16}
    assert given.routing.expected["rag"] > given.routing.expected["closed_book"]
    assert given.routing.why[0][0] == "top_cosine"
    assert "rag promises" in given.route and "top_cosine +" in given.route
    assert given.mean_logprob == -0.5
    assert ask(0.1, router())[0].mode == "closed_book"


def test_mu_of_the_request_wins():
    assert ask(0.55, router())[0].mode == "rag"
    assert ask(0.55, router(), mu="balanced")[0].mode == "closed_book"
    assert ask(0.9, router(), mu=5.0)[0].mode == "closed_book"


def with_arms(*labels, **changes):
    arms = [
        ArmModel(label=label, intercept=0, weights=[0.0], quality=0.9 - i / 10, cost=0.5)
        for i, label in enumerate(labels)
    ]
    return router(arms=arms, **changes)


def test_the_router_sets_k_within_what_the_request_allows():
    given, seams = ask(0.5, with_arms("rag:k=2", "closed_book"))
    assert (given.routing.k, seams.ks, seams.asked) == (2, [4], [(2, None)])
    assert ask(0.5, with_arms("rag:k=2", "closed_book"), k=1)[0].routing.k == 1
    given, seams = ask(0.5, with_arms("rag", "closed_book", k=2), k=6)
    assert (given.routing.k, seams.ks) == (6, [6])


def test_a_chosen_draft_is_not_written_twice():
    drafting = with_arms("closed_book", "rag", draft=True)
    given, seams = ask(0.5, drafting)
    assert seams.asked == [(0, None)]
    assert (given.text, given.usage.prompt_tokens) == ("0 by None", 10)
    assert given.routing.tokens == {"draft": 12} and "draft" in given.timings_ms
    given, seams = ask(0.5, with_arms("rag", "closed_book", draft=True))
    assert seams.asked == [(0, None), (4, None)]
    assert given.usage.prompt_tokens == 24
    assert given.routing.tokens == {"draft": 12, "generate": 16}


def test_an_arm_brings_its_adapter():
    arms = [ArmModel(label="raft", adapter="a-v1", intercept=0, weights=[0], quality=1, cost=1)]
    given, seams = ask(0.5, router(arms=arms, adapter="a-v1"), AdapterRef("a-v1", 3))
    assert (given.mode, given.adapter, seams.asked) == ("raft", "a-v1", [(4, "a-v1")])


@pytest.mark.parametrize("default", [None, AdapterRef("b-v9", 3)])
def test_a_router_of_another_adapter_leaves_the_rule_in_charge(default):
    given, _ = ask(0.9, router(adapter="a-v1"), default)
    assert given.routing.chosen_by == "rule"
    assert given.mode == ("rag" if default is None else "raft")


def test_other_modes_say_that_the_caller_chose():
    given, _ = ask(0.9, router(), mode="rag")
    assert given.routing.chosen_by == "caller"
    assert (given.routing.k, given.routing.tokens) == (4, {"generate": 16})


def test_nothing_found_is_no_error():
    given, _ = ask(0.9, router(), seams=Seams(0.9, n=0))
    assert given.routing.missing == ["top_cosine"] and given.routing.chosen_by == "router"


def test_features_tell_of_question_retrieval_drift_and_draft():
    asked = "How many provinces does Vietnam have now?"
    seen = question_features(asked)
    assert (seen["asks_amount"], seen["asks_now"], seen["asks_who"]) == (1, 1, 0)
    assert seen["question_names"] == 1
    found = Seams(0.5, n=4).found
    seen |= retrieval_features(asked, found, 9, adapter_version=1)
    assert seen["newer_share"] == 0.5, "versions 2 and 3 of 0 to 3"
    assert seen["top_cosine"] == 0.5 and seen["cosine_gap"] == pytest.approx(0.01)
    assert seen["searches_agree"] == 1 and seen["same_best"] == 1
    assert 0 < seen["score_entropy"] < 1
    seen |= draft_features("the fee IS 2 eur", False, -0.25, found)
    assert seen["draft_in_passages"] == 1
    assert draft_features("63", False, -0.25, found)["draft_in_passages"] == 0
    assert set(seen) == set(FEATURES)
    assert "newer_share" not in retrieval_features(asked, found, 9, None)
