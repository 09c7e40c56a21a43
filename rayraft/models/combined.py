"""One output from several views: the question alone and with passages, or with each passage.

In RAFT's form an output is its reasoning (a quote), a marker, and the answer. The views' reasonings
cannot be mixed: each quotes its own passage, and the closed-book one quotes nothing. So each view
first writes its output by itself, and the *answers* are combined, each view going on from its own
reasoning. Where an output has no marker, all of it is the answer.

The output shown is the combined answer after the reasoning of the view that is most responsible for
it (its share times the probability it gives the answer): an answer that came from memory shows no
quote. Where all views would write the same answer, that is the combined one, exactly, and nothing
more is computed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rayraft.models.decoding import Decoding
from rayraft.models.mixing import log_shares, mix, sequence_score
from rayraft.prompts import ANSWER, parse_answer
from rayraft.protocols import Combine

Use = Callable[[str | None], None]
"""Makes an adapter answer from now on (None: the base model); others may take their turn before."""


@dataclass
class Draft:
    """What one view wrote by itself."""

    adapter: str | None
    weight: float
    prompt: list[int]
    tokens: list[int]
    """The output, its end token included where it ended."""
    text: str
    reasoning: int = 0
    """So many of the tokens come before the answer, the marker included."""
    decoding: Decoding | None = field(default=None, repr=False)

    @property
    def answer(self) -> list[int]:
        """The tokens after the reasoning."""
        return self.tokens[self.reasoning :]


def split_reasoning(tokens: Sequence[int], decode: Callable[[list[int]], str]) -> int:
    """How many of the tokens come up to and with the answer's marker; 0 if there is none."""
    if ANSWER not in decode(list(tokens)):
        return 0
    low, high = 1, len(tokens)
    while low < high:  # the marker is in a prefix once it is in a shorter one
        middle = (low + high) // 2
        if ANSWER in decode(list(tokens[:middle])):
            high = middle
        else:
            low = middle + 1
    return low if low < len(tokens) else 0


def with_answers(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts that do not abstain; all of them if every one does.

    Read by itself, most passages do not hold the answer and say so: a view without an answer has
    no say in which one is right. The paper's model has no way to abstain.
    """
    answering = [draft for draft in drafts if not parse_answer(draft.text).abstained]
    return answering or list(drafts)


@dataclass(frozen=True)
class Reader:
    """The model as combining needs it."""

    begin: Callable[[Draft], Decoding]
    """A view's decoding, at the end of its reasoning."""
    use: Use
    end_ids: Sequence[int]
    """Tokens that end an output."""


def combine_drafts(
    drafts: Sequence[Draft], combine: Combine, reader: Reader, max_new_tokens: int
) -> list[int]:
    """The tokens of the combined output: a view's reasoning, then the combined answer.

    Args:
        drafts: One a view.
        combine: `rag_token` and `blend`: greedy search in the mixture; `rag_sequence`: the
            likeliest of the drafts' answers (the paper's "thorough decoding").
        reader: The model.
        max_new_tokens: Of the answer.
    """
    drafts = drafts if combine == "blend" else with_answers(drafts)
    answers = [draft.answer for draft in drafts]
    shares = log_shares([draft.weight for draft in drafts])
    if all(answer == answers[0] for answer in answers):
        best = int(shares.argmax())
        return drafts[best].tokens
    for draft in drafts:
        reader.use(draft.adapter)
        draft.decoding = reader.begin(draft)
    if combine == "rag_sequence":
        answer, scores = _likeliest(drafts, shares, reader)
    else:
        answer, scores = _mixed(drafts, shares, reader, max_new_tokens)
    most = drafts[int((shares + scores).argmax())]
    return [*most.tokens[: most.reasoning], *answer]


def _likeliest(drafts: Sequence[Draft], shares: Tensor, reader: Reader) -> tuple[list[int], Tensor]:
    """The candidate with the highest RAG-Sequence score, and its log-probability in each view."""
    candidates = [list(c) for c in dict.fromkeys(tuple(d.answer) for d in drafts) if c]
    scored = []
    for candidate in candidates:
        rows = []
        for draft in drafts:
            assert draft.decoding is not None
            reader.use(draft.adapter)
            rows.append(draft.decoding.score(candidate).cpu())
        scored.append(torch.stack(rows))
    best = max(range(len(candidates)), key=lambda i: float(sequence_score(scored[i], shares)))
    return candidates[best], scored[best].sum(-1)


def _mixed(
    drafts: Sequence[Draft], shares: Tensor, reader: Reader, max_new_tokens: int
) -> tuple[list[int], Tensor]:
    """Greedy search in the mixture, and the answer's log-probability in each view."""
    answer: list[int] = []
    scores = torch.zeros(len(drafts))
    while len(answer) < max_new_tokens:
        log_probs = torch.stack([d.decoding.log_probs.cpu() for d in drafts if d.decoding])
        token = int(mix(log_probs, shares).argmax())
        scores += log_probs[:, token]
        answer.append(token)
        if token in reader.end_ids:
            break
        for draft in drafts:
            assert draft.decoding is not None
            reader.use(draft.adapter)
            draft.decoding.feed([token])
    return answer, scores
