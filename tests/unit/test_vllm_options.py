"""Engine vllm's settings: what is refused, and what Ray, Serve and vLLM are told."""

import sys

import pytest

from rayraft.config import load
from rayraft.errors import ConfigError
from serve.config import AppConfig, GeneratorConfig
from serve.vllm_options import bundles, check_vllm, llm_config, runtime_env, server_options


def settings(**fields) -> GeneratorConfig:
    given = {"engine": "vllm", "base_model": "/models/a", **fields}
    return GeneratorConfig.model_validate(given)


def arguments(**fields):
    return llm_config(settings(**fields))["engine_kwargs"]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("generator.base_model=mini", "base_model='mini': the shipped model needs"),
        ("generator.max_loaded_adapters=2", r"max_loaded_adapters=2 is below vllm\.max_loras=4"),
        ("generator.scale.num_gpus=1", r"scale\.num_gpus=1.*tensor_parallel_size"),
        ("generator.vllm.max_loras=-1", r"generator\.vllm\.max_loras.*greater than or equal to 0"),
        ("generator.vllm.max_lora_rank=12", r"generator\.vllm\.max_lora_rank.*1, 8, 16"),
        ("generator.vllm.accelerator=tpu", r"generator\.vllm\.accelerator.*'gpu' or 'cpu'"),
        ("generator.vllm.engine={dtype: half}", r"dtype is said by generator\.dtype"),
        ("generator.vllm.engine={trust_remote_code: true}", "cannot be set: would run code"),
        ("generator.vllm.engine={tensor_parallel_size: 0}", "size=0 must be a whole number from 1"),
        ("generator.vllm.gpus=2", r"generator\.vllm\.gpus"),
    ],
)
def test_wrong_settings_are_named_with_their_bound(override, reason):
    given = ["generator.engine=vllm", "generator.base_model=/models/a"]
    load(AppConfig, overrides=given)
    with pytest.raises(ConfigError, match=reason):
        load(AppConfig, overrides=[*given, override])


def test_a_type_of_gpu_is_none_of_a_cpu():
    with pytest.raises(ValueError, match="accelerator_type='H100': is of GPUs"):
        settings(vllm={"accelerator": "cpu", "accelerator_type": "H100"})


def test_settings_of_another_engine_are_not_looked_at():
    assert GeneratorConfig().base_model == "mini"


def test_ray_and_vllm_are_told_what_is_configured():
    told = llm_config(settings(vllm={"engine": {"max_model_len": 4096}, "max_lora_rank": 32}))
    assert told["model_loading_config"] == {"model_id": "base", "model_source": "/models/a"}
    assert told["accelerator_config"] == {"kind": "gpu"}
    assert told["engine_kwargs"] == {
        "enable_prefix_caching": False,
        "max_model_len": 4096,
        "dtype": "auto",
        "generation_config": "vllm",
        "enable_lora": True,
        "max_loras": 4,
        "max_lora_rank": 32,
        "max_cpu_loras": 4,
    }


def test_without_adapters_vllm_has_no_lora():
    assert "enable_lora" not in arguments(vllm={"max_loras": 0})


def test_a_shared_prefix_cache_is_a_choice():
    assert arguments(vllm={"engine": {"enable_prefix_caching": True}})["enable_prefix_caching"]


def test_on_cpus_numbers_are_wide_unless_it_is_said_otherwise():
    cpu = {"accelerator": "cpu"}
    assert arguments(vllm=cpu)["dtype"] == "float32"
    assert arguments(vllm=cpu, dtype="bfloat16")["dtype"] == "bfloat16"


def test_a_replica_reserves_its_gpus_and_sits_beside_the_first():
    parallel = {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}
    config = settings(vllm={"engine": parallel, "accelerator_type": "H100"})
    gpu = {"GPU": 1.0, "accelerator_type:H100": 0.001}
    assert bundles(config) == [{**gpu, "CPU": 0.5}, gpu, gpu, gpu]
    assert llm_config(config)["placement_group_config"] == {"bundles": bundles(config)}
    options = server_options(config)
    assert options["placement_group_bundles"] == bundles(config)
    assert options["ray_actor_options"]["num_gpus"] == 0
    assert options["max_queued_requests"] == 64


def test_its_processes_have_their_interpreter_threads_and_variables():
    vllm = {"accelerator": "cpu", "python": "/envs/vllm/bin/python", "environment": {"A": 1}}
    config = settings(vllm=vllm, threads=3)
    env = runtime_env(config)
    assert env["py_executable"] == "/envs/vllm/bin/python"
    assert env["env_vars"]["OMP_NUM_THREADS"] == "3" and env["env_vars"]["A"] == "1"
    assert bundles(config) == [{"CPU": 0.5}]
    assert "py_executable" not in runtime_env(settings())
    assert "OMP_NUM_THREADS" not in runtime_env(settings())["env_vars"]


def test_where_vllm_is_not_installed_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match=r"not installed for .*generator\.vllm\.python"):
        check_vllm()
