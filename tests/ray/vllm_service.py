"""A running service whose generator is a real vLLM, and the same model in this process."""

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace

from rayraft.demo.http import free_port
from rayraft.models.text import TextModel
from serve.config import AppConfig
from tests.ray.serve_store import make_store
from tests.ray.test_text_model import published

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("VLLM_PYTHON", "")
CONTEXT = 2048
ADAPTERS = ("tiny-v1", "tiny-v2", "tiny-v3")
SEQUENCES = 4
"""That vLLM writes at the same time."""


def settings(store: str, base: Path) -> AppConfig:
    few = {"num_cpus": 0.1}
    vllm = {
        "python": PYTHON,
        "accelerator": "cpu",
        "engine": {
            "max_model_len": CONTEXT,
            "max_num_seqs": SEQUENCES,
            "enforce_eager": True,
            "kv_cache_memory_bytes": 2**26,
        },
        "max_loras": 2,
        "max_lora_rank": 8,
        "environment": {"PYTHONPATH": str(ROOT)},
    }
    generator = {"engine": "vllm", "base_model": str(base), "threads": 1, "vllm": vllm}
    generator |= {"max_loaded_adapters": 2, "scale": few}
    values = {"store": store, "generator": generator, "api": {"request_timeout_s": 120}}
    return AppConfig.model_validate(values | {"retriever": {"scale": few}})


def start(folder: Path, base: Path) -> SimpleNamespace:
    """The service's URL, its generator's handle, and the model in this process.

    `ADAPTERS` are published and loaded here, one more than vLLM keeps; tiny-v4 has what it cannot
    do.
    """
    import ray.serve

    from serve.app import build_app

    store = make_store(folder / "store")
    model = TextModel.load(str(base), device="cpu", dtype="float32", threads=1)
    for seed, name in enumerate(ADAPTERS):
        model.load_adapter(name, published(folder / name, "causal", base, seed, Path(store)))
    published(folder / "dora", "causal", base, 9, Path(store), use_dora=True)
    port = free_port()
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    http = {"host": "127.0.0.1", "port": port}
    ray.serve.start(proxy_location="HeadOnly", http_options=http, logging_config=quiet)
    began = time.monotonic()
    app = build_app(settings(store, base))
    ray.serve.run(app, name="rayraft", route_prefix="/", logging_config=quiet)
    print(f"\nthe service with vLLM started in {time.monotonic() - began:.0f} s")
    generator = ray.serve.get_deployment_handle("Generator", "rayraft")
    return SimpleNamespace(url=f"http://127.0.0.1:{port}", generator=generator, model=model)


def run(service, use):
    """What `use(generate, stream)` returns; both are the generator's calls over its handle."""
    from serve.handle_calls import result_of, stream_of

    handle = service.generator

    async def generate(request):
        return await result_of(handle.generate.remote(request))

    def stream(request):
        return stream_of(handle.options(stream=True).stream.remote(request))

    return asyncio.run(use(generate, stream))
