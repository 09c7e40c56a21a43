"""Answers, vectors and documents in OpenAI's JSON shapes; pure functions."""

import base64
import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rayraft.answering import Retrieved
from rayraft.records import MODES, Answer, Document
from serve.schemas import EMBEDDING_MODEL, RERANK_MODEL, RerankRequest

Json = dict[str, Any]


class ChatReply:
    """The frames of one chat completion: they share id, time and model name."""

    def __init__(self, model: str) -> None:
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, answer: Answer, with_passages: bool) -> Json:
        """The body of a reply that is not streamed."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": answer.text},
            "finish_reason": "stop",
            "logprobs": None,
        }
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage(answer),
            "rayraft": details(answer, with_passages),
        }

    def first(self) -> Json:
        """The chunk that opens a stream."""
        return self._chunk({"role": "assistant", "content": ""})

    def delta(self, text: str) -> Json:
        """A chunk with text."""
        return self._chunk({"content": text})

    def last(self, answer: Answer, with_passages: bool) -> Json:
        """The chunk that ends the text and says how the answer came about."""
        return {**self._chunk({}, "stop"), "rayraft": details(answer, with_passages)}

    def usage(self, answer: Answer) -> Json:
        """The chunk that `stream_options.include_usage` asks for."""
        return {**self._chunk({}), "choices": [], "usage": usage(answer)}

    def _chunk(self, delta: Json, finish_reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}


class CompletionReply:
    """The frames of one text completion, OpenAI's older shape."""

    def __init__(self, model: str) -> None:
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "object": "text_completion",
        }

    def whole(self, answers: Sequence[Answer], with_passages: bool) -> Json:
        """The body of a reply that is not streamed: a choice for each prompt."""
        choices = [
            {**_text(answer.text, "stop", index), "rayraft": details(answer, with_passages)}
            for index, answer in enumerate(answers)
        ]
        counts = [usage(answer) for answer in answers]
        total = {name: sum(count[name] for count in counts) for name in counts[0]}
        return {**self._head, "choices": choices, "usage": total}

    def first(self) -> Json:
        """The chunk that opens a stream."""
        return self.delta("")

    def delta(self, text: str) -> Json:
        """A chunk with text."""
        return {**self._head, "choices": [_text(text, None)]}

    def last(self, answer: Answer, with_passages: bool) -> Json:
        """The chunk that ends the text and says how the answer came about."""
        choice = {**_text("", "stop"), "rayraft": details(answer, with_passages)}
        return {**self._head, "choices": [choice]}

    def usage(self, answer: Answer) -> Json:
        """The chunk that `stream_options.include_usage` asks for."""
        return {**self._head, "choices": [], "usage": usage(answer)}


Reply = ChatReply | CompletionReply


def _text(text: str, finish_reason: str | None, index: int = 0) -> Json:
    return {"index": index, "text": text, "finish_reason": finish_reason, "logprobs": None}


def details(answer: Answer, with_passages: bool) -> Json:
    """The `rayraft` field of a reply."""
    shown = {
        "mode",
        "route",
        "routing",
        "kb_version",
        "adapter",
        "quotes",
        "citations",
        "abstained",
        "supported",
    }
    shown |= {"retrieval_weight"} if answer.retrieval_weight is not None else set()
    shown |= {"cache"} if answer.cache is not None else set()
    shown |= {"timings_ms", "passages"} if with_passages else {"timings_ms"}
    return answer.model_dump(include=shown)


def usage(answer: Answer) -> Json:
    """OpenAI's token counts."""
    counts = answer.usage
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
    }


def model_list(adapters: list[str]) -> Json:
    """GET /v1/models."""
    names = ["rayraft", *(f"rayraft/{mode}" for mode in MODES if mode != "auto")]
    names += [EMBEDDING_MODEL, RERANK_MODEL]
    names += [f"rayraft/raft@{adapter}" for adapter in adapters]
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "rayraft"} for name in names]
    return {"object": "list", "data": data}


def embedding_list(vectors: npt.NDArray[np.float32], tokens: int, encoding_format: str) -> Json:
    """POST /v1/embeddings; base64 is little-endian float32, the openai client's default."""
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, encoding_format)}
        for index, vector in enumerate(vectors)
    ]
    return {
        "object": "list",
        "data": data,
        "model": EMBEDDING_MODEL,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def rerank_result(
    request: RerankRequest, texts: Sequence[str], scores: Sequence[float], tokens: int
) -> Json:
    """POST /v1/rerank: the documents by score, best first; equal ones as they came."""
    order = sorted(range(len(texts)), key=lambda index: -scores[index])
    results = [
        {
            "index": index,
            "relevance_score": scores[index],
            **({"document": {"text": texts[index]}} if request.return_documents else {}),
        }
        for index in order[: request.top_n]
    ]
    return {
        "id": f"rerank-{uuid.uuid4().hex}",
        "object": "list",
        "model": request.model,
        "results": results,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def search_result(found: Retrieved) -> Json:
    """POST /v1/search."""
    data = [passage.model_dump() for passage in found.passages]
    head = {"object": "list", "kb_version": found.kb_version, "partial": found.partial}
    return {**head, "data": data}


def document_body(document: Document, kb_version: int) -> Json:
    """GET /v1/documents/{id}."""
    return {"object": "document", "kb_version": kb_version, **document.model_dump()}


def event(data: Json | str) -> bytes:
    """One server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def _encoded(vector: npt.NDArray[np.float32], encoding_format: str) -> list[float] | str:
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    floats: list[float] = vector.tolist()
    return floats
