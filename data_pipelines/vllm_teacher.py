"""Carries a teacher's prompts to vLLM through `ray.data.llm`, all of them as one dataset.

Ray starts the engines on the cluster's GPUs. A prompt that an engine refuses comes back as a
failure (`should_continue_on_error`); what was written is kept, so that a killed run goes on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from data_pipelines.chat_teacher import Reply
from data_pipelines.raft_staging import Staging
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teachers import TEACHER_ERROR
from rayraft.errors import ConfigError
from rayraft.prompts import Message
from rayraft.records import digest

MAX_TOKENS = 1024
"""Of one output."""
ERROR = "__inference_error__"
"""The column in which `ray.data.llm` says that a row failed; empty where it did not."""

Run = Callable[[Sequence[dict[str, Any]]], Iterator[Mapping[str, Any]]]
"""Rows of `engine_row` to rows with `key` and `text`, or `key` and an error, in any order."""


class VllmCarrier:
    """Prompts to replies, each prompt once.

    Args:
        run: Puts rows through the engines.
        staging: Of this teacher and knowledge base version.
    """

    def __init__(self, run: Run, staging: Staging) -> None:
        self._run = run
        self._staging = staging

    def __call__(self, prompts: Sequence[list[Message]], *, as_json: bool) -> list[Reply]:
        """One reply a prompt, in order; a failure is a reply too."""
        keys = [digest([prompt, as_json]) for prompt in prompts]
        known = self._staging.rows()
        missing = {
            key: engine_row(key, prompt, as_json)
            for key, prompt in zip(keys, prompts, strict=True)
            if key not in known
        }
        try:
            for row in self._run(list(missing.values())) if missing else ():
                reply = output_row(row)
                known[reply["chunk_id"]] = reply
                if not reply["failed"]:  # the next run asks again
                    self._staging.add(reply)
        finally:
            self._staging.flush()
        return [_reply(known.get(key)) for key in keys]


def engine_row(key: str, prompt: Sequence[Message], as_json: bool) -> dict[str, Any]:
    """One row as the engine's stages read it."""
    sampling: dict[str, Any] = {"temperature": 0.0, "max_tokens": MAX_TOKENS}
    if as_json:
        sampling["structured_outputs"] = {"json_object": True}
    messages = [{"role": m["role"], "content": m["content"]} for m in prompt]
    return {"key": key, "messages": messages, "sampling_params": sampling}


def output_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of one of the engine's rows."""
    failed = TEACHER_ERROR if row.get(ERROR) else ""
    return {
        "chunk_id": str(row["key"]),
        "text": "" if failed else str(row.get("text") or ""),
        "failed": failed,
        "prompt_tokens": 0 if failed else int(row.get("prompt_tokens") or 0),
        "completion_tokens": 0 if failed else int(row.get("completion_tokens") or 0),
    }


def _reply(row: Mapping[str, Any] | None) -> Reply:
    if row is None:
        return Reply(failed=TEACHER_ERROR)
    return Reply(row["text"], row["failed"], row["prompt_tokens"], row["completion_tokens"])


def check_vllm() -> None:
    """Whether vLLM is there.

    Raises:
        ConfigError: It is not.
    """
    if find_spec("vllm") is None:
        raise ConfigError(
            "teacher.kind='vllm': vLLM is not installed here; pip install 'ray[llm]' on every node "
            "brings the version that belongs to Ray's, or serve the model elsewhere and use "
            "teacher.kind=openai"
        )


def processor_config(config: TeacherConfig) -> dict[str, Any]:
    """Arguments of `ray.data.llm.vLLMEngineProcessorConfig`."""
    settings = config.vllm
    return {
        "model_source": config.base_model,
        "engine_kwargs": dict(settings.engine),
        "concurrency": (settings.engines, settings.engines),
        "batch_size": settings.batch_prompts,
        "accelerator_type": settings.accelerator_type,
        "should_continue_on_error": True,
    }


def engine_run(config: TeacherConfig) -> Run:
    """Puts rows through vLLM engines on the cluster.

    Raises:
        ConfigError: vLLM is not installed.
    """
    check_vllm()

    def run(rows: Sequence[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
        import ray.data
        import ray.data.llm

        processor = ray.data.llm.build_processor(
            ray.data.llm.vLLMEngineProcessorConfig(**processor_config(config)),
            preprocess=lambda row: row,
            postprocess=lambda row: {
                "key": row["key"],
                "text": row["generated_text"],
                "prompt_tokens": row["num_input_tokens"],
                "completion_tokens": row["num_generated_tokens"],
            },
        )
        blocks = max(1, len(rows) // config.vllm.batch_prompts)
        dataset = ray.data.from_items(list(rows), override_num_blocks=blocks)
        yield from processor(dataset).iter_rows()

    return run
