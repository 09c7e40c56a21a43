"""What comes in over HTTP: OpenAI's request shapes and the `rayraft` field beside them."""

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rayraft.adapter_ids import ADAPTER_ID
from rayraft.errors import InputError, NotFoundError
from rayraft.protocols import Mu
from rayraft.records import MODES

EMBEDDING_MODEL = "rayraft/embedding"
EMBEDDING_MODELS = (EMBEDDING_MODEL, "minilm")
RERANK_MODEL = "rayraft/rerank"
MAX_PROMPTS = 32
_MODEL = re.compile(rf"rayraft(?:/(?P<mode>[a-z_]+)(?:@(?P<adapter>{ADAPTER_ID}))?)?")


def examples(*bodies: dict[str, Any], extra: Literal["forbid", "ignore"] = "ignore") -> ConfigDict:
    """The settings of a request's class, with bodies for the OpenAPI document."""
    return ConfigDict(extra=extra, json_schema_extra={"examples": list(bodies)})


class StrictBody(BaseModel):
    """A request of our own shape."""

    model_config = ConfigDict(extra="forbid")


class OpenBody(BaseModel):
    """A request of somebody else's shape."""

    # Clients send many fields that do not matter here (temperature, user, tools, ...).
    model_config = ConfigDict(extra="ignore")


class AskOptions(StrictBody):
    """The `rayraft` field of a chat request (`extra_body` of the openai client)."""

    k: int = Field(default=4, ge=1, le=50)
    where: dict[str, Any] | None = None
    groups: list[str] | None = None
    min_kb_version: int | None = Field(default=None, ge=0)
    mode: str | None = None
    timeout_s: float | None = Field(default=None, gt=0, le=3600)
    """Give up after so long, in every stage; at most the service's own limit unless streamed."""
    require_grounding: bool = False
    """An answer that no quote supports becomes an abstention."""
    retrieval_weight: float | None = Field(default=None, ge=0, le=1)
    """Mode blend: w, the share of the side that sees passages."""
    reading_adapter: str | None = Field(default=None, max_length=200)
    """Mode blend: adapter of that side; the model's name says the other side's."""
    mu: Mu | None = None
    """Mode auto: `quality`, `balanced`, `cheap`, or what a unit of cost is worth in quality."""
    cache: bool = True
    """Whether an answer given before will do, where the service keeps them."""
    passages: bool = False
    """Send the shown passages along."""


class TextPart(OpenBody):
    """One part of a message's content; only text is understood."""

    type: str
    text: str = ""


class ChatMessage(OpenBody):
    """One turn of the conversation."""

    role: str
    content: str | list[TextPart] | None = None

    def text(self) -> str:
        """The content as one string."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class StreamOptions(OpenBody):
    """OpenAI's `stream_options`."""

    include_usage: bool = False


class AnswerRequest(OpenBody):
    """What chat and text completions share."""

    model: str = Field(default="rayraft", max_length=200)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    n: Literal[1] | None = None
    rayraft: AskOptions = Field(default_factory=AskOptions)


class ChatRequest(AnswerRequest):
    """POST /v1/chat/completions."""

    model_config = examples(
        {
            "model": "rayraft",
            "messages": [{"role": "user", "content": "How long is the warranty?"}],
        },
        {
            "model": "rayraft/rag",
            "messages": [{"role": "user", "content": "What is the rail allowance?"}],
            "stream": True,
            "rayraft": {"k": 4, "where": {"region": "VN"}, "min_kb_version": 12},
        },
    )

    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)

    def question(self) -> str:
        """The last user message; earlier turns are not read yet."""
        for message in reversed(self.messages):
            if message.role == "user" and message.text().strip():
                return message.text().strip()
        raise InputError("messages: no user message with text")


class CompletionRequest(AnswerRequest):
    """POST /v1/completions: each prompt is a question."""

    model_config = examples({"model": "rayraft/rag", "prompt": "How long is the warranty?"})

    prompt: str | list[str]

    @field_validator("prompt")
    @classmethod
    def _prompts(cls, value: str | list[str]) -> str | list[str]:
        prompts = [value] if isinstance(value, str) else value
        if not 1 <= len(prompts) <= MAX_PROMPTS:
            raise ValueError(f"{len(prompts)} prompts: expected 1 to {MAX_PROMPTS}")
        if not all(prompt.strip() for prompt in prompts):
            raise ValueError("an empty prompt cannot be answered")
        return value

    def questions(self) -> list[str]:
        """The prompts as a list."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


class RerankText(OpenBody):
    """A document as Jina's and Cohere's clients may send it."""

    text: str


class RerankRequest(OpenBody):
    """POST /v1/rerank, as Jina and Cohere have it."""

    model_config = examples(
        {
            "model": "rayraft/rerank",
            "query": "How long is the warranty?",
            "documents": ["The kettle is red.", "The warranty lasts two years."],
            "top_n": 1,
        }
    )

    model: str = RERANK_MODEL
    query: str = Field(min_length=1, max_length=20_000)
    documents: list[str | RerankText] = Field(min_length=1, max_length=1000)
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = False

    def texts(self) -> list[str]:
        """The documents' texts."""
        return [item if isinstance(item, str) else item.text for item in self.documents]


class EmbeddingRequest(OpenBody):
    """POST /v1/embeddings."""

    model_config = examples({"model": "rayraft/embedding", "input": ["rail travel", "leave"]})

    model: str = EMBEDDING_MODEL
    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"

    @field_validator("input")
    @classmethod
    def _texts(cls, value: str | list[str]) -> str | list[str]:
        texts = [value] if isinstance(value, str) else value
        if not 1 <= len(texts) <= 2048:
            raise ValueError(f"{len(texts)} texts: expected 1 to 2048")
        if not all(texts):
            raise ValueError("an empty text cannot be embedded")
        return value

    def texts(self) -> list[str]:
        """The input as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


class SearchRequest(StrictBody):
    """POST /v1/search."""

    model_config = examples(
        {"query": "rail allowance", "k": 3, "where": {"region": "VN"}}, extra="forbid"
    )

    query: str = Field(min_length=1, max_length=20_000)
    k: int = Field(default=10, ge=1, le=100)
    where: dict[str, Any] | None = None
    groups: list[str] | None = None
    min_kb_version: int | None = Field(default=None, ge=0)
    method: Literal["hybrid", "dense", "sparse"] = "hybrid"


def parse_model(model: str, mode: str | None = None) -> tuple[str, str | None]:
    """Mode and adapter of `rayraft`, `rayraft/<mode>` or `rayraft/<mode>@<name>-v<n>`.

    `rayraft/auto` is `rayraft` with its mode said, as an adapter needs it.

    `mode` is the request's own `rayraft.mode`, which only the plain name leaves open.

    Raises:
        NotFoundError: Not of this form, or no such mode.
        InputError: `rayraft.mode` contradicts the model.
    """
    match = _MODEL.fullmatch(model)
    named = match["mode"] if match else None
    if match is None or (named is not None and named not in MODES):
        known = ", ".join(["rayraft", *(f"rayraft/{known}" for known in MODES[:-1])])
        raise NotFoundError(
            f"model {model[:200]!r} does not exist; models: {known}, "
            "and rayraft/raft@NAME-vN with an adapter of GET /v1/models"
        )
    if mode is not None and named is not None and mode != named:
        raise InputError(f"rayraft.mode={mode!r} contradicts model {model!r}")
    chosen = named or mode or "auto"
    if chosen not in MODES:
        raise NotFoundError(f"mode {chosen!r:.100} does not exist; modes: {', '.join(MODES)}")
    return chosen, match["adapter"]
