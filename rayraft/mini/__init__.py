"""The shipped models: weights, cards and the one model class (this package imports torch).

Importing this package registers the class with Transformers' Auto classes, so that everything else
treats `AutoModelForSeq2SeqLM.from_pretrained(WEIGHTS)` as any sequence-to-sequence model.
"""

from pathlib import Path

from transformers import AutoConfig, AutoModelForSeq2SeqLM

from rayraft.mini.configuration import MiniConfig
from rayraft.mini.modeling import MiniForConditionalGeneration

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the shipped reader and question writer."""

AutoConfig.register(MiniConfig.model_type, MiniConfig, exist_ok=True)
AutoModelForSeq2SeqLM.register(MiniConfig, MiniForConditionalGeneration, exist_ok=True)

__all__ = ["WEIGHTS", "MiniConfig", "MiniForConditionalGeneration"]
