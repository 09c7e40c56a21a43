"""Carries a teacher's prompts to vLLM through `ray.data.llm`, all of them as one dataset.

Ray starts the engines on the cluster's GPUs. A prompt that an engine refuses comes back as a
failure (`should_continue_on_error`); what was written is kept, so that a killed run goes on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from data_pipelines.chat_teacher import Reply
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teachers import TEACHER_ERROR
from rayraft.errors import ConfigError
from rayraft.prompts import Message

MAX_TOKENS = 1024
"""Of one output."""
ERROR = "__inference_error__"
"""The column in which `ray.data.llm` says that a row failed; empty where it did not."""

Run = Callable[[Sequence[dict[str, Any]]], Iterator[Mapping[str, Any]]]
"""Rows of `engine_row` to rows with `key` and `text`, or `key` and an error, in any order."""


class VllmAsker:
    """Prompts to replies.

    Args:
        run: Puts rows through the engines.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def replies(
        self, prompts: Mapping[str, list[Message]], as_json: bool
    ) -> Iterator[tuple[str, Reply]]:
        """The reply to each prompt by its key, in any order; a failure is a reply too."""
        for row in self._run([engine_row(key, p, as_json) for key, p in prompts.items()]):
            yield str(row["key"]), output_reply(row)


def engine_row(key: str, prompt: Sequence[Message], as_json: bool) -> dict[str, Any]:
    """One row as the engine's stages read it."""
    sampling: dict[str, Any] = {"temperature": 0.0, "max_tokens": MAX_TOKENS}
    if as_json:
        sampling["structured_outputs"] = {"json_object": True}
    messages = [{"role": m["role"], "content": m["content"]} for m in prompt]
    return {"key": key, "messages": messages, "sampling_params": sampling}


def output_reply(row: Mapping[str, Any]) -> Reply:
    """What one of the engine's rows says."""
    if row.get(ERROR):
        return Reply(failed=TEACHER_ERROR)
    sizes = (int(row.get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
    return Reply(str(row.get("text") or ""), "", *sizes)


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
