"""The shipped models: weights, card and, in the modules of this package, their classes.

`rayraft.mini.auto` makes the classes known to Transformers.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the shipped reader and question writer."""
RERANKER = Path(__file__).parent / "reranker"
"""Folder of the shipped reranker."""
READER_TYPE, RERANKER_TYPE = "rayraft_mini", "rayraft_mini_reranker"
"""`model_type` in the configurations of their kinds."""
