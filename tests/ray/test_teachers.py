"""Teachers with real models behind them, and Ray's own view of the vLLM teacher's settings."""

from pathlib import Path

from data_pipelines.local_teacher import LocalTeacher
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teachers import TeacherRequest
from data_pipelines.vllm_teacher import processor_config
from rayraft.models.text import TextModel
from tests.ray.tiny_models import save_causal


def test_ray_data_builds_the_stages_of_the_configured_engine(
    ray_cluster: None, tmp_path: Path
) -> None:
    import ray.data.llm

    config = TeacherConfig.model_validate(
        {
            "kind": "vllm",
            "base_model": save_causal(tmp_path),
            "vllm": {"engines": 2, "batch_prompts": 8, "engine": {"max_model_len": 128}},
        }
    )
    made = ray.data.llm.vLLMEngineProcessorConfig(**processor_config(config))
    assert made.should_continue_on_error and made.get_concurrency() == {
        "min_size": 2,
        "max_size": 2,
    }
    stages = ray.data.llm.build_processor(made, preprocess=dict, postprocess=dict)
    assert stages.list_stage_names() == [
        "ChatTemplateStage",
        "TokenizeStage",
        "vLLMEngineStage",
        "DetokenizeStage",
    ]


def test_any_causal_chat_model_teaches_and_what_it_cannot_read_costs_its_chunk_only(
    tmp_path: Path,
) -> None:
    base = save_causal(tmp_path)
    config = TeacherConfig(base_model=base, reasoning="written", max_new_tokens=8)
    teacher = LocalTeacher(TextModel.load(base, device="cpu", dtype="float32"), config)
    texts = {"long": "The fee in Hue is 15 euros. " * 30, "empty": "w1", "short": "w1 is 15 euros."}
    requests = [TeacherRequest(i, i, text, count=2, seed=0) for i, text in texts.items()]
    long, empty, short = teacher.write(requests)
    assert long.dropped == {"prompt_refused": 1}
    assert empty.dropped == {"no_answer_span": 1}
    assert short.written or short.dropped  # random words: a question, or the reason why none
