"""Haystack's hybrid pipeline with our reader, in Hayhooks.

`hayhooks run --pipelines-dir bench/peers/hayhooks_pipelines`
"""

from typing import Any

from hayhooks import BasePipelineWrapper, get_last_user_message

from bench.peers.haystack_hybrid import HaystackHybrid
from bench.peers.shared import K, Reader, chunks, vectors


class PipelineWrapper(BasePipelineWrapper):
    """One pipeline, asked for passages or for an answer."""

    def setup(self) -> None:
        """Loads everything."""
        self._hybrid = HaystackHybrid(chunks(), vectors())
        self.pipeline = self._hybrid.pipeline
        self.reader = Reader()

    def run_api(self, query: str, k: int = K) -> list[dict[str, str]]:
        """Passages, best first."""
        return self._hybrid.search(query)[:k]

    def run_chat_completion(
        self, model: str, messages: list[dict[str, Any]], body: dict[str, Any]
    ) -> str:
        """One answer from retrieved passages."""
        question = get_last_user_message(messages) or ""
        return self.reader.answer(question, self._hybrid.search(question)[:K])
