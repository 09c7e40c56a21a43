"""Completions, reranking, batches, adapters, metrics and the OpenAPI document over HTTP."""

from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from rayraft.errors import GenerationError
from rayraft.protocols import AskRequest
from rayraft.records import CacheUse
from serve.metrics import Metrics, add_up
from serve.openapi import EXAMPLES
from serve.peers import DictBoard, Peers
from tests.ray.api_in_process import Api, error_of


@pytest.fixture
def api():
    return Api()


def test_completions_are_openais(api):
    async def session(client):
        whole = await client.completions.create(
            model="rayraft/rag", prompt=["What is the fee?", "And then?"], max_tokens=9
        )
        stream = await client.completions.create(model="rayraft", prompt="Q?", stream=True)
        return whole, "".join([chunk.choices[0].text async for chunk in stream])

    whole, text = api.openai(session)
    assert [choice.text for choice in whole.choices] == ["5 EUR", "5 EUR"] and text == "5 EUR"
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert whole.usage.total_tokens == 24
    assert whole.choices[0].model_extra["rayraft"]["citations"]
    questions = [ask.question for ask in api.service.asked]
    assert questions == ["What is the fee?", "And then?", "Q?"]
    assert api.service.asked[0].max_new_tokens == 9


def test_completions_refuse_what_they_cannot_answer(api):
    wrong: tuple[dict[str, Any], ...] = ({}, {"prompt": []}, {"prompt": ["a", " "]})
    for body in (*wrong, {"prompt": "x" * 20_001}):
        assert api.send("POST", "/v1/completions", json=body).status_code == 400
    two = {"prompt": ["a", "b"], "stream": True}
    assert "stream" in error_of(api.send("POST", "/v1/completions", json=two))["message"]
    api.service.fails_with = GenerationError("broken")
    failed = api.send("POST", "/v1/completions", json={"prompt": ["a", "b"]})
    assert failed.status_code == 503 and error_of(failed)["message"] == "broken"


def test_rerank_is_jinas_and_coheres(api):
    documents = ["no", {"text": "the fee is five"}, "the fee"]
    body = {"query": "the fee", "documents": documents, "return_documents": True}
    ranked = api.send("POST", "/v1/rerank", json=body).json()
    assert [result["index"] for result in ranked["results"]] == [1, 2, 0]
    assert ranked["results"][0]["document"] == {"text": "the fee is five"}
    scores = [result["relevance_score"] for result in ranked["results"]]
    assert scores == sorted(scores, reverse=True) and ranked["usage"]["total_tokens"] == 15
    best = api.send("POST", "/v1/rerank", json={**body, "top_n": 1, "return_documents": False})
    assert best.json()["results"] == [{"index": 1, "relevance_score": 1.0}]
    for bad in ({"query": "q"}, {"query": "q", "documents": []}, {**body, "top_n": 0}):
        assert api.send("POST", "/v1/rerank", json=bad).status_code == 400
    assert api.send("POST", "/v1/rerank", json={**body, "model": "x"}).status_code == 404


def test_a_batch_is_written_as_one_and_wrong_as_none(api):
    good = [{"document_id": f"d{i}", "text": "x", "acl": []} for i in range(3)]
    written = api.send("POST", "/v1/documents:batch", json={"documents": good}).json()
    assert written["document_ids"] == ["d0", "d1", "d2"] and written["kb_version"] == 8
    bad = [{"document_id": "new", "text": "x"}, {"document_id": "../x", "text": "x"}]
    assert api.send("POST", "/v1/documents:batch", json={"documents": bad}).status_code == 400
    assert set(api.service.documents) == {"d0", "d1", "d2"}


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_requests_answers_and_tokens(api):
    api.chat(model="rayraft/rag")
    api.chat(model="rayraft/rag", stream=True)
    api.chat(model="nope")
    api.send("GET", "/v1/nowhere/42")
    api.send("GET", "/v1/documents/some/secret")
    reply = api.send("GET", "/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    figures = samples(reply.text)
    chat = ("path", "/v1/chat/completions")
    assert figures[("rayraft_http_requests_total", (chat, ("status", "200")))] == 2
    assert figures[("rayraft_http_requests_total", (chat, ("status", "404")))] == 1
    assert figures[("rayraft_http_request_seconds_count", (chat,))] == 3
    answers = (("adapter", ""), ("mode", "rag"), ("outcome", "cited"))
    assert figures[("rayraft_answers_total", answers)] == 2
    assert figures[("rayraft_tokens_total", (("kind", "completion"),))] == 4
    assert "nowhere" not in reply.text and "secret" not in reply.text


def test_a_hit_of_the_answer_cache_is_told_counted_and_can_be_declined(api):
    hit = CacheUse(outcome="semantic", similarity=0.97, age_s=2)
    answer = api.service._answer(AskRequest(question="q"))
    api.service._answer = lambda request: answer.model_copy(
        update={"cache": hit if request.use_cache else None}
    )
    body = {"model": "rayraft/rag", "messages": [{"role": "user", "content": "q"}]}
    details = api.chat(**body).json()["rayraft"]
    assert details["cache"] == {"outcome": "semantic", "similarity": 0.97, "age_s": 2.0}
    assert "cache" not in api.chat(**body, rayraft={"cache": False}).json()["rayraft"]
    stream = api.chat(**body, stream=True).text
    assert '"outcome": "semantic"' in stream
    assert 'rayraft_answer_cache_total{outcome="semantic"} 2.0' in api.send("GET", "/metrics").text


def test_figures_of_all_replicas_are_one_and_a_limit_is_shared():
    board, several = DictBoard(), [Metrics(), Metrics()]
    peers = [Peers(board, str(i), one.text, every_s=0) for i, one in enumerate(several)]
    for count, one in zip((1, 2), several, strict=True):
        for _ in range(count):
            one.ended("/a", 200, one.began())
    for peer in (*peers, peers[0]):
        peer.look()
    assert [peer.share() for peer in peers] == [0.5, 0.5]
    figures = samples(add_up(peers[1].texts()).decode())
    assert figures[("rayraft_http_requests_total", (("path", "/a"), ("status", "200")))] == 3
    assert figures[("rayraft_http_request_seconds_bucket", (("le", "+Inf"), ("path", "/a")))] == 3
    board.write("1", b"0\n" + several[1].text().encode())  # last heard of long ago
    peers[0].look()
    assert peers[0].share() == 1
    total = samples(add_up(peers[0].texts()).decode())
    assert total[("rayraft_http_request_seconds_count", (("path", "/a"),))] == 3, "nothing is lost"


def operations(api):
    document = api.send("GET", "/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield document, path, method.upper(), operation


def test_the_openapi_document_is_valid_and_every_route_is_described(api):
    document = api.send("GET", "/openapi.json").json()
    validate(document)
    seen = set()
    for _, path, _, operation in operations(api):
        seen.add(operation["operationId"])
        contents = operation["responses"]["200"]["content"].values()
        assert operation["description"] and all("example" in one for one in contents), path
        if path != "/healthz":
            assert {"401", "403", "429"} <= set(operation["responses"]), path
            assert operation["security"] == [{"ApiKey": []}], path
    assert seen == set(EXAMPLES)


def resolved(document, schema):
    return {**schema, "components": document["components"]}


def test_every_body_has_an_example_that_its_schema_takes_and_the_service_answers(api):
    bodies = 0
    for document, path, method, operation in operations(api):
        if "requestBody" not in operation:
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        name = schema.get("$ref") or schema["anyOf"][0]["$ref"]
        definition = document["components"]["schemas"][name.rpartition("/")[2]]
        for example in definition["examples"]:
            bodies += 1
            jsonschema.validate(example, resolved(document, definition))
            place = path.replace("{adapter_id}", "support-v3").replace("{document_id}", "a")
            reply = api.send(method, place, json=example)
            assert reply.status_code == 200, (path, reply.text)
            if not example.get("stream"):
                assert shape(reply.json()) == shape(EXAMPLES[operation["operationId"]]), path
    assert bodies >= 9


def shape(value):
    """Keys of a body, and of the first item of its lists; what is keyed freely is left out."""
    if isinstance(value, dict):
        free = ("timings_ms", "metadata")
        return {key: None if key in free else shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else []
    return None
