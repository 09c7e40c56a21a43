"""The file of API keys, its commands, and the limits of a key."""

import stat

import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from rayraft.errors import ConfigError
from serve.errors import RateLimited
from serve.keys import ApiKey, KeyRing, find_key, key_digest, new_secret, read_keys
from serve.keys_command import app
from serve.limits import Limiter


def key(name="k", secret="s", **values):
    return ApiKey(name=name, sha256=key_digest(secret), **values)


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_created_key_opens_until_it_is_revoked_and_only_its_digest_is_kept(tmp_path):
    file = tmp_path / "keys.yaml"
    code, secret, _ = run("create", "bot", "--keys", file, "--tenant", "acme", "--group", "hr")
    secret = secret.strip()
    assert code == 0 and len(secret) > 40 and secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    run("create", "other", "--keys", file, "--scope", "write", "--requests-per-minute", 5)
    bot, other = read_keys(str(file))
    assert find_key([bot, other], secret) == bot
    assert bot.all_groups == ("tenant:acme", "tenant:acme:hr") and bot.scopes == ["ask"]
    assert other.scopes == ["write"] and other.requests_per_minute == 5
    code, shown, _ = run("list", "--keys", file)
    assert code == 0 and "bot" in shown and "acme" in shown and bot.sha256 not in shown
    assert run("revoke", "bot", "--keys", file)[0] == 0
    assert find_key(read_keys(str(file)), secret) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "Bot"], "name"),
        (["create", "bot", "--tenant", "a--b"], "tenant"),
        (["create", "bot", "--group", "a:b"], "group"),
        (["create", "bot", "--scope", "root"], "scopes"),
        (["create", "bot", "--tokens-per-minute", "0"], "tokens_per_minute"),
        (["create", "bot", "--default-adapter", "../x"], "default_adapter"),
        (["create", "bot", "--tenant", "a", "--default-adapter", "b--x-v1"], "another tenant"),
        (["create", "taken"], "already"),
        (["revoke", "nobody"], "taken"),
    ],
)
def test_what_is_wrong_is_one_line_and_the_file_stays(tmp_path, arguments, said):
    file = tmp_path / "keys.yaml"
    run("create", "taken", "--keys", file)
    before = file.read_text()
    code, _, error = run(*arguments, "--keys", file)
    assert code == 2 and said in error and error.count("\n") == 1
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "keys.yaml"),
        ("keys: [", "YAML"),
        ("- a", "mapping"),
        ("keys: [{name: a, sha256: short}]", "sha256"),
        ("keys: [{name: a, key: secret}]", "unknown key keys.0.key"),
        (yaml.safe_dump({"keys": [key().model_dump(), key("k2").model_dump()]}), "two keys"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, text, said):
    file = tmp_path / "keys.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_keys(str(file))


def test_an_empty_prefix_or_other_text_opens_nothing():
    keys = [key(secret=new_secret()), key("b", new_secret())]
    for wrong in ("", "rayraft-", keys[0].sha256, "ü"):
        assert find_key(keys, wrong) is None


def test_a_ring_keeps_its_keys_while_they_cannot_be_read():
    def read():
        if broken:
            raise ConfigError("storage is away")
        return [key(secret="s")]

    broken = []
    ring = KeyRing(read, poll_s=60)
    broken.append(True)
    ring.close()
    assert ring.find("s") is not None and ring.find("t") is None


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_requests_beyond_a_minutes_limit_wait_until_there_is_room():
    clock = Clock()
    limiter, limited = Limiter(clock=clock), key(requests_per_minute=6)
    for _ in range(6):
        limiter.admit(limited)
    with pytest.raises(RateLimited, match="6 requests per minute") as refused:
        limiter.admit(limited)
    assert refused.value.retry_after_s == 10
    limiter.admit(key("other", "t", requests_per_minute=1))
    clock.now = 9.9
    with pytest.raises(RateLimited):
        limiter.admit(limited)
    clock.now = 10.0
    limiter.admit(limited)
    assert limiter.headers(limited)["x-ratelimit-remaining-requests"] == "0"
    clock.now = 1000.0
    assert limiter.headers(limited) == {
        "x-ratelimit-limit-requests": "6",
        "x-ratelimit-remaining-requests": "6",
        "x-ratelimit-reset-requests": "0ms",
    }


def test_tokens_are_paid_afterwards_and_a_debt_is_waited_for():
    clock = Clock()
    limiter, limited = Limiter(clock=clock), key(tokens_per_minute=600)
    limiter.admit(limited)
    limiter.spend_tokens(limited, 900)
    with pytest.raises(RateLimited, match="tokens") as refused:
        limiter.admit(limited)
    assert refused.value.retry_after_s == 31
    clock.now = 31.0
    limiter.admit(limited)


def test_over_any_time_no_more_is_let_in_than_the_limit_allows():
    clock = Clock()
    limiter, limited = Limiter(clock=clock), key(requests_per_minute=30)
    admitted = 0
    for step in range(6000):  # ten minutes, ten tries a second
        clock.now = step / 10
        try:
            limiter.admit(limited)
            admitted += 1
        except RateLimited:
            pass
    assert 30 * 10 <= admitted <= 30 * 11


def test_replicas_share_a_limit():
    shares = [1.0]
    limiter, limited = Limiter(lambda: shares[0], Clock()), key(requests_per_minute=8)
    limiter.admit(limited)
    shares[0] = 0.5
    for _ in range(3):  # half of the seven that were left
        limiter.admit(limited)
    with pytest.raises(RateLimited):
        limiter.admit(limited)


def test_a_key_without_limits_has_no_headers():
    limiter = Limiter()
    for _ in range(100):
        limiter.admit(key())
    assert limiter.headers(key()) == {}


def test_a_digest_is_the_only_form_of_a_key():
    with pytest.raises(ValidationError, match="sha256"):
        ApiKey(name="a", sha256="A" * 64)
