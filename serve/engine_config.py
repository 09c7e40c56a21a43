"""Settings of the engines that are not in this process."""

from pydantic import Field

from rayraft.config import Config


class OpenAIConfig(Config):
    """An OpenAI-compatible endpoint that writes; its key is RAYRAFT_GENERATOR_API_KEY."""

    base_url: str = ""
    """Such as `http://127.0.0.1:8000/v1`."""
    served_model: str = ""
    """What the endpoint calls the model."""
    base_digest: str = ""
    """Digest of that model, if the endpoint also serves this store's adapters, each under its id
    as the model's name (as vLLM does with `--lora-modules`); empty: no adapters."""
    timeout_s: float = Field(default=60, gt=0)
    """For one try; of a stream, for each piece."""
    connect_timeout_s: float = Field(default=5, gt=0)
    max_retries: int = Field(default=2, ge=0, le=10)
    """After a refused or broken connection, a timeout, 408, 409, 429 or 5xx; never once a stream
    has begun. Waits grow from 0.5 s to 8 s, or are what the endpoint asks for."""
    breaker_failures: int = Field(default=5, ge=1)
    """After so many failed requests in a row none are sent for a while: callers get 503 at once."""
    breaker_rest_s: float = Field(default=10, gt=0)
    """How long; then one request is let through to see."""
