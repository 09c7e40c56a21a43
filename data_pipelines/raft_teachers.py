"""Opens the configured teacher: in every actor, or once for the whole run."""

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_pipelines.allowance import Allowance
from data_pipelines.chat_teacher import ChatTeacher, chat_identity
from data_pipelines.given_questions import given_identity
from data_pipelines.kept_replies import FLUSH_S, KEY, KeptReplies
from data_pipelines.local_teacher import LocalTeacher, local_identity
from data_pipelines.openai_teacher import OpenAICarrier
from data_pipelines.raft_examples import RaftConfig
from data_pipelines.raft_plan import RaftPlan, teacher_requests
from data_pipelines.raft_staging import Staging
from data_pipelines.teacher_config import LimitsConfig, TeacherConfig
from data_pipelines.teachers import HandedOut, Teacher, TeacherIdentity, TeacherResult
from data_pipelines.vllm_teacher import VllmAsker, engine_run
from rayraft.records import Question, digest


@dataclass(frozen=True)
class Prepared:
    """What the actors of a run teach with."""

    teacher: TeacherIdentity
    handed: Mapping[str, TeacherResult] | None
    """What was written before the actors start, by chunk; None: their teacher writes. It travels
    with the chunks, so that no actor holds all of it."""
    explains: bool
    """Whether the actors' teacher writes the reasoning for it."""

    @property
    def needs_teacher(self) -> bool:
        """Whether the actors need one of their own: it writes, or explains what is handed out."""
        return self.handed is None or self.explains

    def handed_with(self, chunk_ids: Sequence[str]) -> list[bytes | None]:
        """Of each chunk, what was written before, for `handed_out`."""
        if self.handed is None:
            return [None] * len(chunk_ids)
        return [pickle.dumps(self.handed.get(chunk_id, TeacherResult())) for chunk_id in chunk_ids]


def identify(config: TeacherConfig, questions: Sequence[Question] | None) -> TeacherIdentity:
    """Name and digest of who writes, without loading it.

    Raises:
        NotFoundError: There is no such model.
    """
    if questions is None:
        return teacher_identity(config)
    explained = config.reasoning == "written"
    return given_identity(questions, teacher_identity(config) if explained else None)


def prepare(
    plan: RaftPlan, identity: TeacherIdentity, config: RaftConfig, staging: Staging
) -> Prepared:
    """What the actors need; an engine that works on all chunks at once does so here.

    Args:
        plan: Which chunks, and people's questions.
        identity: Of who writes.
        config: Of the run.
        staging: For what an engine writes (`reply_staging`).

    Raises:
        ConfigError: vLLM is asked for and not installed.
    """
    handed = None if plan.placed is None else plan.placed.results()
    explains = handed is not None and config.teacher.reasoning == "written"
    if config.teacher.kind != "vllm" or (handed is not None and not explains):
        return Prepared(identity, handed, explains)
    asker = VllmAsker(engine_run(config.teacher))
    teacher = ChatTeacher(config.teacher, KeptReplies(asker, staging))
    requests = teacher_requests(plan.kb, plan.chosen, config)
    if handed is None:
        results = teacher.write(requests)
    else:
        results = teacher.explain(requests, [handed[r.chunk_id] for r in requests])
    by_chunk = {r.chunk_id: result for r, result in zip(requests, results, strict=True)}
    return Prepared(identity, by_chunk, explains=False)


def handed_out(
    identity: TeacherIdentity, handed: Mapping[str, bytes], explainer: Teacher | None
) -> HandedOut:
    """The teacher of chunks with which `Prepared.handed_with` sent what was written before."""
    results = {chunk_id: pickle.loads(result) for chunk_id, result in handed.items()}
    return HandedOut(identity, results, explainer)


def load_teacher(
    config: TeacherConfig, staging: Staging, allowance: Allowance | None = None
) -> Teacher:
    """The configured teacher; the key of an endpoint comes from OPENAI_API_KEY.

    Args:
        config: Of the teacher.
        staging: For an endpoint's replies (`reply_staging`).
        allowance: Of an endpoint, shared by all who ask it.
    """
    if config.kind == "openai":
        endpoint = OpenAICarrier(config, os.environ.get("OPENAI_API_KEY", ""), allowance)
        return ChatTeacher(config, KeptReplies(endpoint, staging))
    from rayraft.models.text import TextModel

    return LocalTeacher(TextModel.load(config.base_model, threads=1), config)


def teacher_identity(config: TeacherConfig) -> TeacherIdentity:
    """Name and digest of the teacher, without loading it.

    Raises:
        NotFoundError: There is no such model.
    """
    if config.kind != "local":
        return chat_identity(config)
    from rayraft.models.base_files import base_digest

    return local_identity(base_digest(config.base_model), config)


def reply_staging(store: str, identity: TeacherIdentity) -> Staging:
    """Where a chat model's replies wait for the rest of the run; prompts are their own keys."""
    key = digest(["replies", identity.digest])[:32]
    return Staging(store, key, id_name=KEY, flush_s=FLUSH_S)


class SharedAllowance:
    """The limits of all actors of a run: one Ray actor keeps them.

    Args:
        handle: Of the actor that `start_allowance` made.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def take(self, tokens: int) -> float:
        """Seconds to wait before a request of about so many tokens.

        Raises:
            TokensSpent: The budget does not suffice.
        """
        import ray

        from data_pipelines.allowance import TokensSpent

        try:
            return float(ray.get(self._handle.take.remote(tokens)))
        except TokensSpent as exc:  # Ray raises a subclass of its own with the whole trace
            raise TokensSpent(str(exc.args[0] if exc.args else exc)) from None

    def settle(self, taken: int, used: int) -> None:
        """A request that took `taken` has used `used`."""
        self._handle.settle.remote(taken, used)

    def pause(self, seconds: float) -> None:
        """Nobody asks for so long."""
        self._handle.pause.remote(seconds)


def start_allowance(config: TeacherConfig) -> SharedAllowance | None:
    """The limits that actors share; None where there are none, or nobody is asked over HTTP."""
    if config.kind != "openai" or config.limits == LimitsConfig():
        return None
    import ray

    from data_pipelines.allowance import LocalAllowance

    return SharedAllowance(ray.remote(num_cpus=0)(LocalAllowance).remote(config.limits))
