"""Who writes the questions: settings of every kind of teacher."""

from typing import Any, Literal

from pydantic import Field, model_validator

from rayraft.config import Config


class LimitsConfig(Config):
    """What an endpoint may be asked, by all actors of a run together."""

    requests_per_minute: float | None = Field(default=None, gt=0)
    """Requests are spread evenly; None: no limit."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Prompt and completion tokens, spread evenly; None: no limit."""
    token_budget: int | None = Field(default=None, ge=1)
    """Tokens that one run of the command may spend. Then it stops; called again, it goes on where
    it stopped, with a budget of its own. Requests under way when it ends are still paid."""


class PricesConfig(Config):
    """What tokens cost, for the estimate; 0 where they cost nothing."""

    per_million_prompt_tokens: float = Field(default=0.0, ge=0)
    per_million_completion_tokens: float = Field(default=0.0, ge=0)
    currency: str = "USD"


class VllmConfig(Config):
    """The engine of teacher kind `vllm`, on the GPUs of the cluster."""

    engines: int = Field(default=1, ge=1, le=1024)
    """Copies of the model, each with its own GPUs."""
    batch_prompts: int = Field(default=64, ge=1, le=4096)
    """Prompts handed to an engine at a time."""
    accelerator_type: str | None = None
    """`H100`, `L4` and the like, as Ray names them; None: any."""
    engine: dict[str, Any] = Field(default_factory=dict)
    """Engine arguments as vLLM names them: `tensor_parallel_size`, `max_model_len`, `dtype`."""


class TeacherConfig(Config):
    """Who writes the questions, and what is kept of them."""

    kind: Literal["local", "openai", "vllm"] = "local"
    """`local`: a text model in the process; `openai`: an OpenAI-compatible HTTP endpoint; `vllm`:
    vLLM through `ray.data.llm`."""
    base_model: str = Field(default="mini", min_length=1)
    """The local or vLLM text model, or the endpoint's name of its model."""
    reasoning: Literal["quote", "written"] = "quote"
    """What stands before the answer: the sentence that holds it, quoted, or a few sentences that
    the teacher writes around verbatim quotes. The shipped model writes none."""
    candidates_per_question: int = Field(default=3, ge=1, le=20)
    """Local: answer spans tried for each question wanted; many fail a check."""
    questions_per_span: int = Field(default=6, ge=1, le=8)
    """Local: questions tried for an answer span while some are missing, each begun with another of
    the likeliest words."""
    min_round_trip_f1: float = Field(default=0.6, ge=0, le=1)
    """Local: token F1 between the intended answer and the one read back; 0 keeps everything."""
    leak_f1: float = Field(default=0.6, gt=0, le=2)
    """A question that the teacher answers without the document, with at least this token F1, needs
    no document and is left out; above 1 nothing is, and nothing is asked."""
    max_quote_chars: int = Field(default=320, ge=20, le=4000)
    """A longer sentence is cut to the words around its answer."""
    max_new_tokens: int = Field(default=96, ge=8, le=2048)
    """Local: length limit of a written question and of the answer read back."""
    url: str = "http://localhost:8000/v1"
    """openai: base URL. The key is read from the environment variable OPENAI_API_KEY."""
    timeout_s: float = Field(default=60.0, gt=0)
    """openai: time limit of one request."""
    max_retries: int = Field(default=3, ge=0, le=20)
    """openai: further tries after a timeout, a refused connection, or status 408, 429 or 5xx; the
    wait doubles, or is what the endpoint asks for (Retry-After)."""
    max_in_flight: int = Field(default=16, ge=1, le=1024)
    """openai: requests under way at a time from one actor."""
    tokenizer: str | None = None
    """Counts tokens for the estimate: a folder, or a model of the hub. None: the model's own,
    or for an endpoint a rule of thumb."""
    limits: LimitsConfig = LimitsConfig()
    prices: PricesConfig = PricesConfig()
    vllm: VllmConfig = VllmConfig()

    @model_validator(mode="after")
    def _shipped_model_quotes(self) -> "TeacherConfig":
        if self.kind == "local" and self.reasoning == "written" and self.base_model == "mini":
            raise ValueError(
                "reasoning='written': the shipped model writes none; name a base_model that does"
            )
        if self.kind == "vllm" and self.base_model == "mini":
            raise ValueError("kind='vllm': the shipped model runs as kind 'local'")
        return self

    @property
    def batches_at_once(self) -> int:
        """Batches that an actor works on: while one waits for an endpoint, another is searched for.

        A model in the actor itself has one at a time.
        """
        return 2 if self.kind == "openai" else 1

    @property
    def batch_chunks(self) -> int:
        """Chunks of a batch, where nothing else is said."""
        return -(-self.max_in_flight // self.batches_at_once) if self.kind == "openai" else 8

    def deciding(self) -> dict[str, Any]:
        """The settings that can change what is written; limits and prices cannot."""
        hurry = {"timeout_s", "max_retries", "max_in_flight", "limits"}
        money = {"prices", "tokenizer"}
        values = self.model_dump(exclude=hurry | money | {"vllm"})
        return values | {"engine": self.vllm.engine}
