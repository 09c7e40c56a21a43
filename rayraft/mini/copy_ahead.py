"""Drafts the rest of a phrase that is being copied, to be checked in one forward pass.

Source: prompt lookup decoding (github.com/apoorvumang/prompt-lookup-decoding), a form of
speculative decoding (arXiv 2211.17192) whose draft costs nothing. Transformers' own looks in the
decoder's tokens; ours looks in the source, where a quote comes from. The output is that of greedy
search.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.generation.candidate_generator import CandidateGenerator

MIN_MATCH = 2
"""Fewer equal tokens than these are mostly chance."""


class CopyAhead(CandidateGenerator):
    """Proposes what follows in the source the last tokens of the output."""

    def __init__(
        self, source_ids: Tensor, border_ids: set[int], draft: int, max_length: int
    ) -> None:
        """Looks in one row.

        Args:
            source_ids: int64 [1, S].
            border_ids: Tokens that a draft never holds: segment borders and padding.
            draft: Tokens of a draft at most.
            max_length: Tokens of the whole output at most.
        """
        self._source: list[int] = source_ids[0].tolist()
        self._border_ids = border_ids
        self._draft = draft
        self._max_length = max_length

    def get_candidates(  # type: ignore[override]  # no logits of a draft that no model made
        self, input_ids: torch.LongTensor, **_: Any
    ) -> tuple[torch.LongTensor, None]:
        """`input_ids` with a draft after them, or as they are."""
        written = input_ids[0].tolist()
        room = min(self._draft, self._max_length - len(written) - 1)
        draft = self._continuation(written)[: max(0, room)]
        if not draft:
            return input_ids, None
        drafted: Any = torch.cat([input_ids, input_ids.new_tensor([draft])], dim=1)
        return drafted, None

    def _continuation(self, written: list[int]) -> list[int]:
        """The source after its longest match with the end of `written`."""
        best, length = 0, MIN_MATCH - 1
        for position in range(MIN_MATCH, len(self._source)):
            match = 0
            while (
                match < min(position, len(written))
                and self._source[position - 1 - match] == written[-1 - match]
            ):
                match += 1
            if match > length:
                best, length = position, match
        if not best:
            return []
        rest = self._source[best : best + self._draft]
        ends = [i for i, token in enumerate(rest) if token in self._border_ids]
        return rest[: ends[0]] if ends else rest
