"""What the items of an LLMServer's stream mean."""

import json
from types import SimpleNamespace

import pytest

from rayraft.errors import GenerationError, InputError, NotFoundError
from serve.errors import Overloaded, Unavailable
from serve.vllm_calls import VllmPiece
from serve.vllm_events import pieces_of


def event(**fields) -> str:
    return f"data: {json.dumps(fields)}\n\n"


def choice(tokens, logprobs):
    return {"text": " w1", "token_ids": tokens, "logprobs": {"token_logprobs": logprobs}}


def test_events_become_tokens_and_their_probabilities():
    item = [event(choices=[choice([5, 6], [-0.5, None])]), event(choices=[choice([1], [-0.1])])]
    assert list(pieces_of(item)) == [VllmPiece((5, 6), (-0.5,)), VllmPiece((1,), (-0.1,))]


def test_what_holds_no_tokens_is_passed_over():
    last = {"text": "", "token_ids": None, "logprobs": None}
    item = [event(choices=[last]), event(choices=[], usage={}), "data: [DONE]\n\n"]
    assert list(pieces_of(item)) == [VllmPiece((), ())]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, InputError),
        (404, NotFoundError),
        (429, Overloaded),
        (503, Unavailable),
        (500, GenerationError),
        (None, GenerationError),
    ],
)
def test_errors_are_ours_in_a_stream_and_in_its_place(code, error):
    said = {"message": "too\nlong", "type": "x", "code": code}
    response = SimpleNamespace(model_dump=lambda: {"error": said})
    for item in ([event(error=said)], [response]):
        with pytest.raises(error, match="vLLM: too long"):
            list(pieces_of(item))
