"""What identifies an embedder; free of torch, because the knowledge base stores and compares it."""

from pydantic import Field

from rayraft.records import Record


class EmbedderSpec(Record):
    """Two embedders with equal specs put a text at the same point."""

    name: str
    digest: str
    """Hex sha256 over weights and tokenizer."""
    dim: int = Field(ge=1)
    max_tokens: int = Field(ge=8)
    """Longest input in tokens, special tokens included; the rest is cut off."""
