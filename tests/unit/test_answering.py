"""The answering logic with fakes for retrieval and generation."""

import asyncio
import random

import pytest

from rayraft.answering import (
    AdapterRef,
    AnswerSettings,
    AskRequest,
    GeneratedPiece,
    Retrieved,
    answer,
    answer_stream,
)
from rayraft.errors import InputError, NotFoundError
from rayraft.prompt_budget import PromptBudget
from rayraft.prompts import ABSTAIN, ANSWER, completion
from rayraft.records import Answer, Passage

PASSAGES = [
    Passage(
        chunk_id="d1#0",
        document_id="d1",
        title="Refunds",
        text="In Hà Nội the fee is 12.50 EUR. The Nile Desk pays it back.",
        start=100,
        end=160,
        dense_score=0.7,
    ),
    Passage(
        chunk_id="d2#0",
        document_id="d2",
        title="Rivers",
        text="The Nile flows through eleven countries.",
        dense_score=0.3,
    ),
]


class FakeRetrieve:
    def __init__(self, passages=PASSAGES, kb_version=7):
        self.passages, self.kb_version, self.calls = passages, kb_version, []

    async def __call__(self, question, k, where, groups, min_kb_version):
        self.calls.append((question, k, where, tuple(groups), min_kb_version))
        return Retrieved(self.passages[:k], self.kb_version)


class FakeGenerate:
    """Writes a fixed output in pieces of `size` characters."""

    def __init__(self, output, size=1000):
        self.output, self.size, self.calls, self.requests = output, size, [], []

    async def __call__(self, request):
        self.requests.append(request)
        view = request.views[0]
        self.calls.append((view.messages, view.adapter, request.max_new_tokens))
        pieces = [self.output[i : i + self.size] for i in range(0, len(self.output), self.size)]
        for number, piece in enumerate(pieces, start=1):
            yield GeneratedPiece(piece, prompt_tokens=11, completion_tokens=number)


def ask(request, output, retrieve=None, default=None, settings=None):
    generate = FakeGenerate(output)
    result = asyncio.run(answer(request, retrieve or FakeRetrieve(), generate, default, settings))
    return result, generate


def stream(output, size, mode="rag"):
    async def collect():
        items = answer_stream(
            AskRequest(question="Fee?", mode=mode), FakeRetrieve(), FakeGenerate(output, size)
        )
        return [item async for item in items]

    *deltas, final = asyncio.run(collect())
    assert isinstance(final, Answer)
    return deltas, final


def test_rag_shows_passages_to_the_base_model():
    result, generate = ask(
        AskRequest(question="Fee?", mode="rag"),
        completion("", "12.50 EUR"),
        default=AdapterRef("a-v1"),
    )
    messages, adapter, _ = generate.calls[0]
    assert adapter is None and result.adapter is None
    assert PASSAGES[0].text in messages[-1]["content"]
    assert (result.mode, result.route, result.kb_version) == ("rag", "", 7)


def test_raft_uses_the_default_adapter_and_a_named_one_instead():
    output = completion("", "x")
    by_default, _ = ask(AskRequest(question="Q", mode="raft"), output, default=AdapterRef("a-v1"))
    named, generate = ask(
        AskRequest(question="Q", mode="raft", adapter="b-v2"), output, default=AdapterRef("a-v1")
    )
    assert (by_default.adapter, named.adapter) == ("a-v1", "b-v2")
    assert generate.calls[0][1] == "b-v2"


def test_raft_without_any_adapter_is_an_error_that_names_the_way_out():
    with pytest.raises(NotFoundError, match="none is published; train one or use rag"):
        ask(AskRequest(question="Q", mode="raft"), "x")


def test_rag_refuses_an_adapter_instead_of_ignoring_it():
    with pytest.raises(InputError, match=r"a-v1.*base model"):
        ask(AskRequest(question="Q", mode="rag", adapter="a-v1"), "x")


def test_closed_book_retrieves_nothing():
    retrieve = FakeRetrieve()
    result, generate = ask(AskRequest(question="Q", mode="closed_book"), "##Answer: x", retrieve)
    assert retrieve.calls == []
    assert result.kb_version is None and result.passages == []
    assert "<document" not in generate.calls[0][0][-1]["content"]


def test_unknown_mode_lists_the_modes():
    with pytest.raises(NotFoundError, match=r"'magic'.*closed_book, rag, raft, rag_seq.*, auto"):
        ask(AskRequest(question="Q", mode="magic"), "x")


def test_auto_reports_the_mode_it_chose_and_why():
    output = completion("", "x")
    plain, _ = ask(AskRequest(question="Q?"), output)
    adapted, _ = ask(AskRequest(question="Q?"), output, default=AdapterRef("a-v1", 7))
    assert plain.mode == "rag" and "no adapter" in plain.route
    assert adapted.mode == "raft" and adapted.adapter == "a-v1"


def test_auto_with_nothing_found_asks_the_memory():
    result, generate = ask(
        AskRequest(question="Q?"), "##Answer: x", FakeRetrieve([]), AdapterRef("a-v1")
    )
    assert result.mode == "closed_book"
    assert generate.calls[0][1] == "a-v1"
    assert result.kb_version == 7, "it did look, so it says in which version"


def test_request_reaches_retrieval_unchanged():
    retrieve = FakeRetrieve()
    request = AskRequest(
        question="Q", mode="rag", k=1, where={"region": "VN"}, groups=("hr",), min_kb_version=5
    )
    ask(request, "##Answer: x", retrieve)
    assert retrieve.calls == [("Q", 1, {"region": "VN"}, ("hr",), 5)]


def test_uncased_answer_and_quote_take_the_passages_spelling_and_span():
    output = completion("in ha noi the fee is 12 . 50 eur .", "12 . 50 eur")
    result, _ = ask(AskRequest(question="Fee?", mode="rag"), output)
    assert result.text == "12.50 EUR"
    spoken = completion("the nile desk pays it back .", "the nile desk")
    cited, _ = ask(AskRequest(question="Who?", mode="rag"), spoken)
    (citation,) = cited.citations
    assert cited.text == "The Nile Desk"
    assert citation.document_id == "d1"
    passage = PASSAGES[0]
    assert passage.text[citation.start - 100 : citation.end - 100] == citation.quote


def test_invented_quote_gives_no_citation():
    result, _ = ask(AskRequest(question="Q", mode="rag"), completion("the fee is 99 eur", "99"))
    assert result.quotes == ["the fee is 99 eur"]
    assert result.citations == []


def test_abstention_is_the_fixed_phrase():
    result, _ = ask(AskRequest(question="Q", mode="rag"), completion("", ABSTAIN.lower()))
    assert result.abstained and result.text == ABSTAIN


def test_timings_name_every_stage_and_usage_is_the_last_count():
    result, _ = ask(AskRequest(question="Q"), "##Answer: x")
    assert set(result.timings_ms) == {"route", "retrieve", "generate", "total"}
    assert result.timings_ms["total"] >= result.timings_ms["generate"]
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (11, 1)


def test_passages_that_do_not_fit_are_neither_shown_nor_reported():
    settings = AnswerSettings(budget=PromptBudget(max_prompt_tokens=130))
    result, generate = ask(AskRequest(question="Q", mode="rag"), "##Answer: x", settings=settings)
    assert [p.chunk_id for p in result.passages] == ["d1#0"]
    assert "Nile flows" not in generate.calls[0][0][-1]["content"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
@pytest.mark.parametrize(
    "output",
    [
        completion("in ha noi the fee is 12 . 50 eur .", "12 . 50 eur"),
        completion("", "the nile desk"),
        completion("", "the nile is not a desk, and this goes on for a while"),
        completion("", "The Nile Desk. It pays."),
        completion("", "**bold** move **"),
        completion("", ""),
        completion("", ABSTAIN.lower().replace(".", " .")),
        completion("", "issue #1 ## and #"),
        "no marker at all",
        "##begin_quote## the nile ##end_quote## no marker",
        "##Answer:",
        "",
    ],
)
def test_streamed_pieces_join_to_the_answers_text(output, size):
    deltas, final = stream(output, size)
    assert "".join(deltas) == final.text
    assert final.raw == output
    assert "##begin_quote##" not in "".join(deltas) and ANSWER not in "".join(deltas)


def test_long_cased_answers_are_streamed_while_they_are_written():
    text = "Yes. It is paid back by the desk within ten days of the request."
    deltas, _ = stream(completion("a quote", text), size=4)
    assert len(deltas) > 10


def test_random_piece_lengths_never_change_the_text():
    seeded = random.Random(0)
    words = ["the", "nile", "desk", "12.50", "eur", "#", "*", "Fee", "flows", "##", "Hà", "nội"]
    for _ in range(300):
        text = " ".join(seeded.choices(words, k=seeded.randint(1, 6)))
        deltas, final = stream(completion("", text), seeded.randint(1, 9))
        assert "".join(deltas) == final.text, text
