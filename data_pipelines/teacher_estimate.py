"""What a teacher will be asked for a run, and what that costs, before it is asked.

Prompts are those of the run, counted whole; outputs are a rule of thumb a question, because
nobody has written them yet. Knows no store and no Ray.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data_pipelines.chat_teacher import write_messages
from data_pipelines.openai_teacher import CHARS_PER_TOKEN
from data_pipelines.reasoning import golden_passages, reasoning_messages
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teachers import TeacherRequest, TeacherResult, WrittenQuestion
from rayraft.prompts import Message, answer_messages

WRITTEN_TOKENS = 80
"""Rule of thumb: a question, its quote and its answer as JSON."""
LEAK_TOKENS = 40
"""Rule of thumb: an answer without the document."""
REASONING_TOKENS = 120
"""Rule of thumb: one to three sentences with their quotes."""
_TYPICAL = WrittenQuestion("What is the fee that customers pay for a parcel to Hanoi?", "", "")
"""Stands for a question that is not written yet."""

Count = Callable[[Sequence[str]], int]
"""Tokens of some texts together."""


@dataclass(frozen=True)
class Estimate:
    """What a run asks for, at most: questions that fail a check are asked about no further."""

    chunks: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    counted_by: str
    """What counted the tokens of the prompts."""

    def cost(self, config: TeacherConfig) -> float:
        """In the currency of the configured prices."""
        prices = config.prices
        return (
            self.prompt_tokens * prices.per_million_prompt_tokens
            + self.completion_tokens * prices.per_million_completion_tokens
        ) / 1e6

    def least_minutes(self, config: TeacherConfig) -> float:
        """How long the configured limits make it last, at least; 0 without limits."""
        limits = config.limits
        tokens = self.prompt_tokens + self.completion_tokens
        pairs = ((self.requests, limits.requests_per_minute), (tokens, limits.tokens_per_minute))
        return max((amount / limit for amount, limit in pairs if limit is not None), default=0.0)


def rule_of_thumb(texts: Sequence[str]) -> int:
    """Tokens of English texts, at so many characters each."""
    return sum(-(-len(text) // CHARS_PER_TOKEN) for text in texts)


def estimate(
    requests: Sequence[TeacherRequest],
    handed: dict[str, TeacherResult] | None,
    config: TeacherConfig,
    count: Count,
    counted_by: str,
) -> Estimate:
    """What chat prompts for these chunks amount to.

    Args:
        requests: One a chunk.
        handed: People's questions by chunk, for which reasoning alone is written; None: none.
        config: Of the teacher.
        count: Counts tokens.
        counted_by: What that is, in words.
    """
    asked: list[tuple[list[Message], int]] = []
    for request in requests:
        given = None
        if handed is not None:
            given = [w for w in handed[request.chunk_id].written if w.is_answerable]
        if given is None:
            asked.append((write_messages(request), request.count * WRITTEN_TOKENS))
        if given is None and config.leak_f1 <= 1:
            asked += [(answer_messages(_TYPICAL.question, []), LEAK_TOKENS)] * request.count
        if config.reasoning == "written":
            for written in [_TYPICAL] * request.count if given is None else given:
                golden = golden_passages(request, written.supports)
                asked.append((reasoning_messages(written, golden), REASONING_TOKENS))
    # Most texts are the same for every chunk.
    times = Counter(m["content"] for messages, _ in asked for m in messages)
    by_times: dict[int, list[str]] = {}
    for text, n in times.items():
        by_times.setdefault(n, []).append(text)
    return Estimate(
        chunks=len(requests),
        requests=len(asked),
        prompt_tokens=sum(n * count(texts) for n, texts in by_times.items()),
        completion_tokens=sum(tokens for _, tokens in asked),
        counted_by=counted_by,
    )


def describe(made: Estimate, config: TeacherConfig) -> str:
    """The estimate for a person."""
    lines = [
        f"{made.chunks} chunks -> at most {made.requests} requests to {config.base_model}",
        f"about {made.prompt_tokens:,} prompt tokens ({made.counted_by}), "
        f"{made.completion_tokens:,} completion tokens (rule of thumb a question)",
    ]
    prices = config.prices
    if prices.per_million_prompt_tokens or prices.per_million_completion_tokens:
        lines.append(f"about {made.cost(config):,.2f} {prices.currency}")
    else:
        lines.append("no price is configured (teacher.prices.per_million_prompt_tokens)")
    if minutes := made.least_minutes(config):
        lines.append(f"at least {minutes:,.1f} minutes at the configured limits")
    budget = config.limits.token_budget
    if budget is not None and budget < made.prompt_tokens + made.completion_tokens:
        lines.append(f"more than teacher.limits.token_budget={budget:,}: several runs")
    return "\n".join(lines)
