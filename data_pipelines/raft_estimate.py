"""The estimate of a RAFT run over a store: which chunks, and what their teacher costs."""

from collections.abc import Sequence

from data_pipelines.raft_examples import RaftConfig
from data_pipelines.raft_plan import Scope, plan_run, teacher_requests
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teacher_estimate import Count, describe, estimate, rule_of_thumb


def estimate_run(store: str, config: RaftConfig, scope: Scope) -> str:
    """For a person: chunks, requests, tokens, price and time of what the run asks for.

    Raises:
        NotFoundError: The store has no knowledge base, or the tokenizer does not exist.
        NothingToLearn: There is no chunk that may be learned.
    """
    plan = plan_run(store, config, scope)
    chunks, teacher = len(plan.chosen), config.teacher
    if not config.asks_teacher(given=plan.placed is not None):
        return f"{chunks} chunks with people's questions: no teacher is asked"
    if teacher.kind == "local":
        return f"{chunks} chunks, written by {teacher.base_model} here: no tokens are bought"
    handed = None if plan.placed is None else plan.placed.results()
    requests = teacher_requests(plan.kb, plan.chosen, config)
    count, counted_by = _counter(teacher)
    return describe(estimate(requests, handed, teacher, count, counted_by), teacher)


def _counter(config: TeacherConfig) -> tuple[Count, str]:
    name = config.tokenizer or (config.base_model if config.kind == "vllm" else None)
    if name is None:
        return rule_of_thumb, "rule of thumb: 4 characters a token"
    from rayraft.models.base_config import load_tokenizer

    tokenizer = load_tokenizer(name)

    def count(texts: Sequence[str]) -> int:
        return sum(
            len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        )

    return count, f"counted by the tokenizer of {name}"
