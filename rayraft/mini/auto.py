"""Importing this registers the model classes with Transformers' Auto classes.

From then on `AutoModelForSeq2SeqLM.from_pretrained(rayraft.mini.WEIGHTS)` loads the reader as any
sequence-to-sequence model, `AutoModelForSequenceClassification` the reranker as any cross-encoder.
"""

from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

from rayraft.mini.configuration import MiniConfig, MiniRerankerConfig
from rayraft.mini.modeling import MiniForConditionalGeneration
from rayraft.mini.reranking import MiniForSequenceClassification

AutoModelForSeq2SeqLM.register(MiniConfig, MiniForConditionalGeneration, exist_ok=True)
AutoModelForSequenceClassification.register(
    MiniRerankerConfig, MiniForSequenceClassification, exist_ok=True
)
