"""Ray Serve's control headers never get from a client to Serve; every other header does."""

import asyncio

import pytest

from serve.control_headers import NoControlHeaders

RAYS = (
    "SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER",
    "SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER",
    "SERVE_MULTIPLEXED_MODEL_ID",
    "SERVE_SESSION_ID",
    "SERVE_INGRESS_ROUTER_HEADER_PREFIX",
)
"""By Ray's own names, so that a renamed one is noticed."""


def passed_on(headers):
    seen = []

    async def behind(scope, receive, send):
        seen.extend(scope["headers"])

    scope = {"type": "http", "headers": headers}
    asyncio.run(NoControlHeaders(behind)(scope, None, None))  # type: ignore[arg-type]
    return seen


@pytest.mark.parametrize("name", RAYS)
@pytest.mark.parametrize("spelt", [str.lower, str.upper, str.title])
@pytest.mark.parametrize("between", ["-", "_"])
def test_a_control_header_is_taken_off_however_it_is_spelt(name, spelt, between):
    from ray.serve._private import constants  # warns on import, which only a test may

    header = getattr(constants, name) + ("anything" if name.endswith("PREFIX") else "")
    sent = spelt(header).replace("-", between).replace("_", between).encode()
    ours = (b"Authorization", b"Bearer k")
    assert passed_on([(sent, b"1"), ours, (sent, b"2")]) == [ours]


def test_other_headers_pass_as_they_are():
    kept = [(b"x-request-id", b"7"), (b"X-Session", b"a"), (b"content-type", b"text/\xff")]
    assert passed_on(kept) == kept
