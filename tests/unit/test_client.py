"""The HTTP client against servers in this process, among them such as are no service of ours."""

import json
from typing import Any

import httpx2
import pytest

from rayraft.client import ServiceError, ServiceUnreachable, ask_service
from rayraft.errors import NotFoundError
from rayraft.protocols import AskRequest

GOOD = {
    "choices": [{"message": {"content": "5"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    "rayraft": {"mode": "rag"},
}


def asked(reply: Any, status: int = 200, **fields: Any) -> tuple[str, dict[str, Any]]:
    """The answer's text and the body that was sent."""
    sent: list[dict[str, Any]] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content))
        return httpx2.Response(status, json=reply)

    with httpx2.Client(transport=httpx2.MockTransport(handle)) as client:
        answer = ask_service("http://s/", AskRequest(question="Q?", **fields), client=client)
    return answer.text, sent[0]


@pytest.mark.parametrize(
    ("mode", "adapter", "model"),
    [
        ("auto", None, "rayraft"),
        ("auto", "a-v1", "rayraft/auto@a-v1"),
        ("rag", None, "rayraft/rag"),
        ("raft", "a-v1", "rayraft/raft@a-v1"),
    ],
)
def test_mode_and_adapter_are_sent_as_the_service_reads_them(mode, adapter, model):
    from serve.schemas import parse_model

    text, body = asked(GOOD, mode=mode, adapter=adapter)
    assert (text, body["model"]) == ("5", model)
    assert parse_model(body["model"], body["rayraft"]["mode"]) == (mode, adapter)


def test_everything_that_a_request_says_is_sent():
    _, body = asked(GOOD, where={"region": "VN"}, groups=("hr",), min_kb_version=3, k=2)
    options = body["rayraft"]
    assert (options["where"], options["groups"]) == ({"region": "VN"}, ["hr"])
    assert (options["min_kb_version"], options["k"]) == (3, 2)


@pytest.mark.parametrize(
    "reply",
    [
        {**GOOD, "rayraft": None},
        {key: value for key, value in GOOD.items() if key != "rayraft"},
        {**GOOD, "choices": []},
        {**GOOD, "rayraft": {"mode": "rag", "other": 1}},
        {"ok": True},
        ["x"],
        "x",
    ],
)
def test_the_reply_of_another_server_is_one_clear_line(reply):
    with pytest.raises(ServiceError, match=r"^http://s/v1/chat/completions: .*no RayRAFT service"):
        asked(reply)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"error": {"message": "no such model"}}, "no such model"),
        ({"error": "model not found"}, "model not found"),
        ({"error": None}, "status 404"),
        ({"error": {"message": 3}}, "status 404"),
        (["x"], "status 404"),
    ],
)
def test_errors_of_any_server_are_told_in_one_line(reply, said):
    with pytest.raises(NotFoundError, match=said):
        asked(reply, status=404)


def test_a_port_without_a_listener_is_told_apart():
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    transport = httpx2.MockTransport(refuse)
    with httpx2.Client(transport=transport) as client, pytest.raises(ServiceUnreachable):
        ask_service("http://s", AskRequest(question="Q?"), client=client)
