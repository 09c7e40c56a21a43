"""What every test runs under: no network, no colours, the person's own settings left out."""

import os

import pytest

# Before any library reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_AUTH_MODE", "token")  # the default; said explicitly, Ray is quiet
os.environ.pop("RAY_ADDRESS", None)
# Threads that outlive a Ray (Serve's metrics) would start another one by calling it.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Help and errors look the same on every terminal."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("RAYRAFT_LOG_LEVEL", "FORCE_COLOR", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
