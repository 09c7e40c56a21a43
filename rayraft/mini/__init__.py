"""The shipped models: weights, card and the model classes (this package imports torch).

`rayraft.mini.auto` makes the classes known to Transformers.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the shipped reader and question writer."""
RERANKER = Path(__file__).parent / "reranker"
"""Folder of the shipped reranker."""
