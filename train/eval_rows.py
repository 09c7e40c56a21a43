"""The rows of an evaluation: one question in one mode."""

from collections.abc import Sequence

import pyarrow as pa

from rayraft.records import Record


class EvalRow(Record):
    """One question answered in one mode."""

    mode: str
    question_id: str
    kind: str
    question: str
    answers: list[str]
    gold_ids: list[str]
    prediction: str = ""
    raw: str = ""
    abstained: bool = False
    exact_match: float | None = None
    """None in mode search, which does not answer."""
    token_f1: float | None = None
    recall_at_k: float | None = None
    """None without retrieval or without gold documents."""
    ndcg_at_10: float | None = None
    """Of mode search alone: other modes retrieve k passages."""
    answered_by: str
    """The mode that answered: the router's choice in `auto`, else the mode itself."""
    route: str = ""
    adapter: str | None = None
    kb_version: int | None = None
    passage_ids: list[str]
    """Chunks shown, in order."""
    citations: int = 0
    """Quotes that stand verbatim in a shown passage."""
    supported: bool = False
    """Whether it quotes, and every quote is such a citation."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    mean_logprob: float | None = None
    """Of the output's tokens, nats."""
    features: str = ""
    """What a router sees (`rayraft.route_features`), as JSON; empty without retrieval."""
    retrieve_ms: float = 0.0
    generate_ms: float = 0.0
    latency_ms: float
    """From the question to the whole answer, alone in its process."""


ARROW_SCHEMA = pa.schema(
    [
        ("mode", pa.string()),
        ("question_id", pa.string()),
        ("kind", pa.string()),
        ("question", pa.string()),
        ("answers", pa.list_(pa.string())),
        ("gold_ids", pa.list_(pa.string())),
        ("prediction", pa.string()),
        ("raw", pa.string()),
        ("abstained", pa.bool_()),
        ("exact_match", pa.float64()),
        ("token_f1", pa.float64()),
        ("recall_at_k", pa.float64()),
        ("ndcg_at_10", pa.float64()),
        ("answered_by", pa.string()),
        ("route", pa.string()),
        ("adapter", pa.string()),
        ("kb_version", pa.int64()),
        ("passage_ids", pa.list_(pa.string())),
        ("citations", pa.int32()),
        ("supported", pa.bool_()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("mean_logprob", pa.float64()),
        ("features", pa.string()),
        ("retrieve_ms", pa.float64()),
        ("generate_ms", pa.float64()),
        ("latency_ms", pa.float64()),
    ]
)


def rows_table(rows: Sequence[EvalRow]) -> pa.Table:
    """The rows as Arrow."""
    return pa.Table.from_pylist([row.model_dump() for row in rows], schema=ARROW_SCHEMA)
