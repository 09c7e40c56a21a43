"""Ray Serve's settings, each alone against its defaults: `/v1/search` and answers of mode `rag`.

Every variant is the shipped command with the shipped settings and an environment of its own, since
Ray reads these when it starts. Search says what the ways cost (its own work is a few milliseconds),
answers whether it matters.
"""

import statistics

from bench.harness import FULL, report
from bench.service import Load, Post, example_store, keys_file, load, shipped_service

VARIANTS: dict[str, dict[str, str]] = {
    "defaults": {},
    "HAProxy ingress": {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_HAPROXY_NBTHREAD": "1"},
    "gRPC between replicas": {"RAY_SERVE_USE_GRPC_BY_DEFAULT": "1"},
    "one loop": {
        "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    },
    "throughput-optimised": {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"},
}


def main() -> None:
    """Runs the bench."""
    for_s = 9.0 if FULL else 2.0
    searches: dict[str, Load] = {}
    singles: dict[str, Load] = {}
    answers: dict[str, Load] = {}
    failed: dict[str, str] = {}
    # With HAProxy, requests do not come over loopback, so the service has keys.
    with example_store() as store, keys_file() as keys:
        for name, env in VARIANTS.items():
            try:
                with shipped_service(store, f"api.keys={keys}", **env) as url:
                    singles[name] = load(url, Post.searches(), 1, for_s)
                    searches[name] = load(url, Post.searches(), 8, for_s)
                    answers[name] = load(url, Post.chats(), 1, for_s)
            except SystemExit as exc:
                failed[name] = str(exc)
    work = f"example corpus, {for_s:g} s each"
    report(
        "serve_settings",
        f"{work}: /v1/search with 8 clients",
        "requests/s",
        {name: done.windows for name, done in searches.items()},
        ["ray", "ray-haproxy"],
        more_is_better=True,
        notes={
            **{
                name: {
                    "search p50 ms, 1 client": round(singles[name].p50_ms, 1),
                    "search p95 ms, 8 clients": round(searches[name].p95_ms, 1),
                    "rag p50 ms, 1 client": round(answers[name].p50_ms, 1),
                    "searches/s, 1 client": round(statistics.median(singles[name].windows), 1),
                }
                for name in answers
            },
            "failed": failed,
        },
    )


if __name__ == "__main__":
    main()
