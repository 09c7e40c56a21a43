"""Carries a teacher's prompts to any OpenAI-compatible endpoint, within its limits.

A request that fails for good is counted and costs its chunk only: a long job never ends because
of one row.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from data_pipelines.allowance import Allowance, LocalAllowance, TokensSpent
from data_pipelines.chat_teacher import Reply
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teachers import BUDGET_SPENT, TEACHER_ERROR
from rayraft.prompts import Message

logger = logging.getLogger(__name__)

CHARS_PER_TOKEN = 4
"""Rule of thumb for English text, where no tokenizer counts: for limits, before an endpoint has
told what it used."""
EXPECTED_COMPLETION_TOKENS = 128
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_MAX_WAIT_S = 30.0
_MAX_RETRY_AFTER_S = 600.0


class OpenAICarrier:
    """Chat completions over HTTP, many at a time, whoever asks. Safe for threads.

    Args:
        config: Endpoint, retries, limits.
        api_key: Sent as a bearer token if there is one.
        allowance: Shared with other carriers of the job; None: of its own.
        transport: For tests.
        first_wait_s: Before the first retry; doubles with each.
    """

    def __init__(
        self,
        config: TeacherConfig,
        api_key: str = "",
        allowance: Allowance | None = None,
        transport: httpx2.BaseTransport | None = None,
        first_wait_s: float = 0.5,
    ) -> None:
        self._config = config
        self._allowance = allowance or LocalAllowance(config.limits)
        self._first_wait_s = first_wait_s
        self._client = httpx2.Client(
            base_url=config.url.rstrip("/") + "/",
            timeout=config.timeout_s,
            transport=transport,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            limits=httpx2.Limits(max_connections=config.max_in_flight),
        )
        self._pool = ThreadPoolExecutor(config.max_in_flight)

    def __call__(self, prompts: Sequence[list[Message]], *, as_json: bool) -> list[Reply]:
        """One reply a prompt, in order; a failure is a reply too."""
        by_place = {str(place): prompt for place, prompt in enumerate(prompts)}
        found = dict(self.replies(by_place, as_json))
        return [found[place] for place in by_place]

    def replies(
        self, prompts: Mapping[str, list[Message]], as_json: bool
    ) -> Iterator[tuple[str, Reply]]:
        """The reply to each prompt by its key, as they come; a failure is a reply too."""
        asked = {
            self._pool.submit(self._ask, prompt, as_json): key for key, prompt in prompts.items()
        }
        try:
            for done in as_completed(asked):
                yield asked[done], done.result()
        finally:
            for each in asked:  # of a reader who left early
                each.cancel()

    def _ask(self, prompt: list[Message], as_json: bool) -> Reply:
        try:
            return self._complete(prompt, as_json)
        except TokensSpent:
            return Reply(failed=BUDGET_SPENT)
        except httpx2.HTTPError as exc:
            logger.warning("teacher %s: %s", self._config.base_model, exc)
            return Reply(failed=TEACHER_ERROR)

    def _complete(self, prompt: list[Message], as_json: bool) -> Reply:
        body: dict[str, Any] = {
            "model": self._config.base_model,
            "messages": prompt,
            "temperature": 0,
        }
        if as_json:
            body["response_format"] = {"type": "json_object"}
        expected = sum(len(message["content"]) for message in prompt) // CHARS_PER_TOKEN
        expected += EXPECTED_COMPLETION_TOKENS
        for attempt in range(self._config.max_retries + 1):
            last = attempt == self._config.max_retries
            try:
                response = self._send(body, expected)
                if response.status_code not in _RETRIED or last:
                    return self._reply(response, expected)
                self._wait(attempt, response)
            except httpx2.TransportError:
                self._allowance.settle(expected, 0)
                if last:
                    raise
                self._wait(attempt, None)
        raise AssertionError("the last attempt returns or raises")

    def _send(self, body: dict[str, Any], expected: int) -> httpx2.Response:
        wait_s = self._allowance.take(expected)
        if wait_s > 0:
            time.sleep(wait_s)
        response = self._client.post("chat/completions", json=body)
        if response.status_code >= 400:
            self._allowance.settle(expected, 0)
        return response

    def _reply(self, response: httpx2.Response, expected: int) -> Reply:
        response.raise_for_status()
        sent = _object(response)
        usage = sent.get("usage")
        used = [
            usage.get(name) if isinstance(usage, dict) else None
            for name in ("prompt_tokens", "completion_tokens")
        ]
        prompt_tokens, completion_tokens = (u if isinstance(u, int) else 0 for u in used)
        # An endpoint that does not tell is charged what was expected.
        self._allowance.settle(expected, prompt_tokens + completion_tokens or expected)
        try:
            text = str(sent["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError):
            text = ""
        return Reply(text, "", prompt_tokens, completion_tokens)

    def _wait(self, attempt: int, response: httpx2.Response | None) -> None:
        asked = None if response is None else retry_after_s(response)
        if asked is None:
            time.sleep(min(self._first_wait_s * 2**attempt, _MAX_WAIT_S))
        else:  # everybody waits: the endpoint is busy and not this request wrong
            self._allowance.pause(asked)


def retry_after_s(response: httpx2.Response) -> float | None:
    """Seconds that an endpoint asks to wait for (RFC 9110, 10.2.3); None: it asks for nothing."""
    header = response.headers.get("retry-after", "").strip()
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)


def _object(response: httpx2.Response) -> dict[str, Any]:
    try:
        sent = response.json()
    except ValueError:
        return {}
    return sent if isinstance(sent, dict) else {}
