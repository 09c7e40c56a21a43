"""The engine behind vLLM's deployment: prompts to token ids, token ids to text.

Writes prompts and reads outputs exactly as the model in this process does, whichever versions the
deployment's environment has.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from rayraft.deadlines import next_within
from rayraft.errors import ConfigError, InputError
from rayraft.models.codec import Codec
from rayraft.models.generation import TextDeltas
from rayraft.protocols import GeneratedPiece, GenerateRequest
from serve.handle_calls import result_of, stream_of
from serve.vllm_calls import VllmRequest


class VllmEngine:
    """Sends each request to vLLM's deployment; leaving a stream ends the request there.

    Args:
        base_model: Whose tokenizer it is.
        vllm: The deployment's handle.

    Raises:
        NotFoundError: There is no such base model.
        ConfigError: It is one that vLLM does not run.
    """

    restart_helps = False
    """A new replica would meet the same deployment, which looks after itself."""

    def __init__(self, base_model: str, vllm: Any) -> None:
        self._codec = Codec.load(base_model)
        if self._codec.is_encoder_decoder:
            raise ConfigError(
                f"generator.base_model={base_model!r}: vLLM runs causal models alone; an "
                "encoder-decoder needs engine=transformers"
            )
        self._vllm = vllm

    async def generate(self, request: GenerateRequest) -> GeneratedPiece:
        """The whole output; raises as `stream`."""
        text, last = "", GeneratedPiece("")
        async with aclosing(self.stream(request)) as pieces:
            async for last in pieces:
                text += last.text
        return GeneratedPiece(text, last.prompt_tokens, last.completion_tokens, last.mean_logprob)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GeneratedPiece, None]:
        """The output piece by piece, the token counts last.

        Raises:
            DeadlineExceeded: The request's time limit has passed.
            InputError: It combines several prompts, or is longer than the model's context.
            NotFoundError: The adapter is not published.
            ArtifactMismatch: The adapter does not belong to this model, or vLLM cannot run it.
            Unavailable: vLLM's deployment has no live replica.
            Overloaded: It is at its limit.
            GenerationError: vLLM failed.
        """
        call = self._call(request)
        deltas, tokens, sure = TextDeltas(self._codec.decode), list[int](), list[float]()
        handle = self._vllm.options(stream=True)
        async with aclosing(stream_of(handle.stream.remote(call))) as pieces:
            while piece := await next_within(pieces, request.deadline_at, "generation"):
                tokens += piece.tokens
                sure += piece.logprobs
                if text := deltas.feed(tokens):
                    yield GeneratedPiece(text)
        confidence = sum(sure) / len(sure) if sure else None
        yield GeneratedPiece(deltas.finish(tokens), len(call.prompt), len(tokens), confidence)

    async def check(self) -> None:
        """Asks the deployment, which has written a token lately or writes one."""
        await result_of(self._vllm.ready.remote())

    def close(self) -> None:
        """There are no threads."""

    def _call(self, request: GenerateRequest) -> VllmRequest:
        if len(request.views) > 1:
            raise InputError(
                f"mode {request.combine} mixes next-token distributions, which vLLM does not give; "
                "it needs generator.engine=transformers"
            )
        (view,) = request.views
        prompt = self._codec.render(view.messages, request.max_new_tokens)
        return VllmRequest(
            tuple(prompt),
            request.max_new_tokens,
            tuple(self._codec.end_ids),
            view.adapter,
            request.deadline_at,
        )
