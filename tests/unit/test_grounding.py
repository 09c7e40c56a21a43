"""The citation gate: what no quote supports is said to be so, or becomes an abstention."""

import asyncio

import pytest

from rayraft.answering import AskRequest, answer_stream
from rayraft.prompts import ABSTAIN, completion
from tests.unit.test_answering import FakeGenerate, FakeRetrieve

TRUE = "In Hà Nội the fee is 12.50 EUR."
INVENTED = "In Hà Nội the fee is 99 EUR."


def asked(output, size=3, mode="rag", **fields):
    """What was streamed, and the answer."""

    async def collect():
        request = AskRequest(question="Fee?", mode=mode, **fields)
        items = answer_stream(request, FakeRetrieve(), FakeGenerate(output, size))
        return [item async for item in items]

    *deltas, final = asyncio.run(collect())
    return "".join(deltas), final


@pytest.mark.parametrize(
    ("output", "supported"),
    [
        (completion(TRUE, "12.50 EUR"), True),
        (completion(TRUE.lower(), "12.50 EUR"), True),
        (completion(INVENTED, "99 EUR"), False),
        (
            completion(TRUE, "12.50").replace(
                "##Answer", f"##begin_quote## {INVENTED} ##end_quote## ##Answer"
            ),
            False,
        ),
        (completion("", "12.50 EUR"), False),
        ("no marker at all", False),
        (completion(TRUE, ""), False),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_only_quotes_that_stand_in_a_passage_support_an_answer(output, supported, size):
    shown, plain = asked(output, size)
    assert (plain.supported, shown) == (supported, plain.text)
    gated_shown, gated = asked(output, size, require_grounding=True)
    assert gated_shown == gated.text
    if supported:
        assert gated.text == plain.text and not gated.abstained
    else:
        assert (gated.text, gated.abstained, gated.supported) == (ABSTAIN, True, False)
        assert gated.raw == output, "the record keeps what was written"


def test_a_supported_answer_is_still_streamed_while_it_is_written():
    text = "Yes. It is paid back by the desk within ten days of the request."
    request = AskRequest(question="Q", mode="rag", require_grounding=True)

    async def collect():
        items = answer_stream(request, FakeRetrieve(), FakeGenerate(completion(TRUE, text), 4))
        return [item async for item in items]

    assert len(asyncio.run(collect())) > 10


def test_memory_alone_supports_nothing():
    _, final = asked(completion("", "12.50 EUR"), mode="closed_book", require_grounding=True)
    assert final.text == ABSTAIN
