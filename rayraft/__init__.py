"""The core: records, configuration, prompts, answers, metrics. Knows nothing of Ray or torch."""

__version__ = "0.1.0"
