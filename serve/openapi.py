"""What the OpenAPI document says of each route beside its types: an answer, and its errors."""

from typing import Any

from fastapi.responses import JSONResponse, PlainTextResponse

from rayraft.records import Answer, Citation, Passage
from serve.errors import error_body
from serve.responses import details

_QUOTE = "The warranty lasts two years."
_ANSWER = details(
    Answer(
        text="two years",
        mode="rag",
        kb_version=12,
        quotes=[_QUOTE],
        citations=[
            Citation(
                chunk_id="manuals/kettle.md#0",
                document_id="manuals/kettle.md",
                quote=_QUOTE,
                start=0,
                end=len(_QUOTE),
            )
        ],
        timings_ms={"retrieve": 9.1, "generate": 210.4, "total": 221.0},
    ),
    with_passages=False,
)
_USAGE = {"prompt_tokens": 320, "completion_tokens": 14, "total_tokens": 334}
_PASSAGE = Passage(
    chunk_id="travel/rail.md#0",
    document_id="travel/rail.md",
    title="Rail travel",
    text="The rail allowance in Vietnam is 40 EUR.",
    start=0,
    end=40,
    metadata={"region": "VN"},
    score=0.032,
    dense_score=0.71,
    sparse_score=4.2,
    updated_in=12,
).model_dump()
_ADAPTER = {
    "id": "support-v3",
    "object": "adapter",
    "roles": ["reading"],
    "champion_of": ["reading"],
    "method": "raft",
    "kb_version": 12,
    "created": "2026-02-01T10:00:00Z",
}
EXAMPLES: dict[str, Any] = {
    "chat": {
        "id": "chatcmpl-5d1c",
        "created": 1767225600,
        "model": "rayraft/rag",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "two years"},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": _USAGE,
        "rayraft": _ANSWER,
    },
    "completions": {
        "id": "cmpl-5d1c",
        "created": 1767225600,
        "model": "rayraft/rag",
        "object": "text_completion",
        "choices": [
            {
                "index": 0,
                "text": "two years",
                "finish_reason": "stop",
                "logprobs": None,
                "rayraft": _ANSWER,
            }
        ],
        "usage": _USAGE,
    },
    "models": {
        "object": "list",
        "data": [{"id": "rayraft/rag", "object": "model", "created": 0, "owned_by": "rayraft"}],
    },
    "embeddings": {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.01, -0.02]}],
        "model": "rayraft/embedding",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    },
    "rerank": {
        "id": "rerank-5d1c",
        "object": "list",
        "model": "rayraft/rerank",
        "results": [{"index": 1, "relevance_score": 0.97}],
        "usage": {"prompt_tokens": 21, "total_tokens": 21},
    },
    "search": {"object": "list", "kb_version": 12, "partial": False, "data": [_PASSAGE]},
    "put_document": {"document_id": "handbook/leave.md", "kb_version": 13},
    "put_documents": {
        "object": "list",
        "document_ids": ["handbook/leave.md", "handbook/rail.md"],
        "kb_version": 13,
    },
    "get_document": {
        "object": "document",
        "kb_version": 13,
        "document_id": "handbook/leave.md",
        "title": "Leave",
        "text": "There are 30 days of annual leave.",
        "metadata": {},
        "acl": [],
        "uri": "",
    },
    "delete_document": {"document_id": "handbook/leave.md", "deleted": True, "kb_version": 14},
    "feedback": {"feedback_version": 5},
    "adapters": {"object": "list", "data": [_ADAPTER]},
    "promote": {"id": "support-v3", "object": "adapter", "champion_of": ["reading"]},
    "rollback": {"role": "reading", "champion": "support-v2"},
    "healthz": {"status": "ok"},
    "readyz": {"status": "ready", "kb_version": 12},
    "metrics": 'rayraft_answers_total{adapter="",mode="rag",outcome="cited"} 42.0\n',
}
"""Of each route, an answer."""

_ERRORS = {
    400: "A field is missing, unknown or out of bounds.",
    401: "No API key, or one that is not valid.",
    403: "The key's scopes, groups or tenant do not allow it, or the service does not do it.",
    404: "No such model, adapter or document that this key may read.",
    413: "The body is too long.",
    429: "A limit of the key or of the service; `Retry-After` says when to come back.",
    503: "A part of the service is restarting; try again.",
    504: "It took too long, or `min_kb_version` did not come.",
}
_OPEN = ("healthz",)
_STREAMED = {
    "chat": 'data: {"object": "chat.completion.chunk", "choices": [...]}\n\ndata: [DONE]\n\n',
    "completions": 'data: {"object": "text_completion", "choices": [...]}\n\ndata: [DONE]\n\n',
}
"""With `stream`."""


def described(name: str) -> dict[str, Any]:
    """The arguments of a route that describe it."""
    answer = PlainTextResponse if name == "metrics" else JSONResponse
    content = {str(answer.media_type): {"example": EXAMPLES[name]}}
    if name in _STREAMED:
        content["text/event-stream"] = {"example": _STREAMED[name]}
    responses: dict[int, Any] = {200: {"description": "Done.", "content": content}}
    if name not in _OPEN:
        for status, what in _ERRORS.items():
            example = {"example": error_body(what, status)}
            responses[status] = {"description": what, "content": {"application/json": example}}
    # FastAPI would describe its own shape of validation errors, which is never sent.
    responses[422] = {"description": "Never sent: wrong fields are answered with 400."}
    return {
        "operation_id": name,
        "response_model": None,
        "response_class": answer,
        "responses": responses,
    }
