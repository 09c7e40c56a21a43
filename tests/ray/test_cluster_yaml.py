"""The launcher file under Ray's own schema and checks; starts no cluster."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

PATH = Path(__file__).parents[2] / "cluster.yaml"


def cluster() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return config


def test_cluster_yaml_passes_rays_own_validation():
    validate_config(prepare_config(cluster()))


def test_rays_validation_refuses_an_unknown_key():
    config = cluster()
    config["available_node_types"]["gpu"]["instance"] = "g6e.4xlarge"

    with pytest.raises(jsonschema.ValidationError, match="instance"):
        validate_config(prepare_config(config))


def test_nothing_is_left_to_the_launchers_defaults_that_matter():
    # The default would install Ray's nightly wheel and open the dashboard to the network.
    prepared = prepare_config(copy.deepcopy(cluster()))
    assert not any("ray-wheels" in command for command in prepared["setup_commands"])
    starts = prepared["head_start_ray_commands"] + prepared["worker_start_ray_commands"]
    started = [command for command in starts if "ray start" in command]
    assert len(started) == 2
    assert all(
        command.startswith("RAY_AUTH_MODE=token GOMP_SPINCOUNT=1000 ") for command in started
    )
    assert "--dashboard-host=127.0.0.1" in started[0]
