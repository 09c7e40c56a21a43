"""The configuration loader: what it takes, and one line for what it does not."""

from pathlib import Path

import pytest
from pydantic import Field

from rayraft.config import Config, load
from rayraft.errors import ConfigError


class Inner(Config):
    size: int = Field(default=2, ge=1, le=9)
    since: str = ""


class Outer(Config):
    inner: Inner = Inner()
    name: str = "x"


def test_overrides_win_over_the_file_and_the_file_over_defaults(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text("name: from the file\ninner: {size: 3, since: then}\n")
    config = load(Outer, path, ["inner.size=4"])
    assert config == Outer(name="from the file", inner=Inner(size=4, since="then"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("inner.size=10", r"inner\.size=10: .*less than or equal to 9"),
        ("inner.sise=3", r"unknown key inner\.sise"),
        ("name.size=3", r"name='?.*"),
        ("inner.size", "expected section.key=value"),
        ("=3", "expected section.key=value"),
        ("inner.size=[", "not YAML"),
        ("inner.since=2026-02-30", "not YAML"),
    ],
)
def test_an_override_that_does_not_fit_is_named(override: str, said: str):
    with pytest.raises(ConfigError, match=said):
        load(Outer, None, [override])


class Stages(Config):
    stages: list[Inner]


def test_an_item_of_a_list_is_overridden_by_its_place(tmp_path: Path):
    path = tmp_path / "stages.yaml"
    path.write_text("stages: [{size: 1}, {size: 2}]\n")
    assert [inner.size for inner in load(Stages, path, ["stages.1.size=7"]).stages] == [1, 7]
    for wrong in ("2", "-1", "x"):
        with pytest.raises(ConfigError, match=rf"{wrong} is not from 0 to 1"):
            load(Stages, path, [f"stages.{wrong}.size=7"])


@pytest.mark.parametrize(
    "content",
    [b"name: [", b"- a\n- b\n", b"name: \xff\xfe", b"inner: {since: 2026-02-30}", b"[" * 1500],
)
def test_a_file_that_can_not_be_read_is_named_in_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.yaml") as caught:
        load(Outer, path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        load(Outer, "nowhere.yaml")
