"""The shipped models: weights, card and the model classes (this package imports torch).

Importing this package registers the classes with Transformers' Auto classes, so that everything
else treats `AutoModelForSeq2SeqLM.from_pretrained(WEIGHTS)` as any sequence-to-sequence model and
`AutoModelForSequenceClassification.from_pretrained(RERANKER)` as any cross-encoder.
"""

from pathlib import Path

from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)

from rayraft.mini.configuration import MiniConfig, MiniRerankerConfig
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.reranking import MiniForSequenceClassification

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the shipped reader and question writer."""
RERANKER = Path(__file__).parent / "reranker"
"""Folder of the shipped reranker."""

AutoConfig.register(MiniConfig.model_type, MiniConfig, exist_ok=True)
AutoModelForSeq2SeqLM.register(MiniConfig, MiniForConditionalGeneration, exist_ok=True)
AutoConfig.register(MiniRerankerConfig.model_type, MiniRerankerConfig, exist_ok=True)
AutoModelForSequenceClassification.register(
    MiniRerankerConfig, MiniForSequenceClassification, exist_ok=True
)

__all__ = [
    "RERANKER",
    "WEIGHTS",
    "MiniConfig",
    "MiniForConditionalGeneration",
    "MiniForSequenceClassification",
    "MiniRerankerConfig",
]
