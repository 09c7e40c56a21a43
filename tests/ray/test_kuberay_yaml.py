"""`serve/kuberay.yaml` against KubeRay's published schema, Ray's and ours."""

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from rayraft.config import validate
from serve.config import AppConfig
from serve.control_headers import IMPORT_PATH

ROOT = Path(__file__).parents[2]
SERVICE: dict[str, Any] = yaml.safe_load((ROOT / "serve/kuberay.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((ROOT / "tests/unit/golden/kuberay_rayservice.json").read_text("utf-8"))
SPEC = SERVICE["spec"]
CLUSTER = SPEC["rayClusterConfig"]
GROUPS = {group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}
SERVE = yaml.safe_load(SPEC["serveConfigV2"])
ARGS = SERVE["applications"][0]["args"]


def pod(group):
    return group["template"]["spec"]


def problems(service):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(service)]


def test_it_passes_kuberays_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert problems(SERVICE) == []


@pytest.mark.parametrize(
    "break_it",
    [
        lambda spec: spec.update(serveConfig="typo"),
        lambda spec: spec["upgradeStrategy"].update(kind="NewCluster"),
        lambda spec: spec["rayClusterConfig"]["gcsFaultToleranceOptions"].update(redis="x"),
        lambda spec: spec["rayClusterConfig"]["workerGroupSpecs"][0].update(maxReplicas="8"),
        lambda spec: spec["rayClusterConfig"]["workerGroupSpecs"][0].pop("groupName"),
        lambda spec: pod(spec["rayClusterConfig"]["headGroupSpec"])["containers"][0].update(gpu=1),
    ],
)
def test_the_schema_refuses_what_kuberay_would(break_it):
    broken = copy.deepcopy(SERVICE)
    break_it(broken["spec"])
    assert len(problems(broken)) == 1


def test_the_application_parses_as_rays_schema_and_as_our_settings():
    from ray.serve.schema import ServeDeploySchema

    parsed = ServeDeploySchema.model_validate(SERVE)
    assert parsed.applications[0].import_path == "serve.app:build_app"
    app = validate(AppConfig, ARGS, source="serve/kuberay.yaml")
    assert app.api.keys, "it listens on every address"


def test_nothing_that_takes_requests_has_one_place_alone():
    assert SERVE["proxy_location"] == "EveryNode"
    assert SPEC["excludeHeadPodFromServeSvc"] is True
    assert GROUPS["cpu"]["minReplicas"] >= 2
    for section in ("api", "retriever"):
        assert ARGS[section]["scale"]["min_replicas"] >= 2, section


def test_the_head_may_be_lost_and_an_upgrade_drops_no_begun_answer():
    assert CLUSTER["gcsFaultToleranceOptions"]["redisAddress"]
    assert CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert SPEC["upgradeStrategy"]["type"] == "NewCluster"
    assert SPEC["rayClusterDeletionDelaySeconds"] > ARGS["api"]["request_timeout_s"]


def test_every_pod_is_guarded_and_can_read_the_keys():
    assert CLUSTER["authOptions"] == {"mode": "token"}
    for group in (CLUSTER["headGroupSpec"], *GROUPS.values()):
        (container,) = pod(group)["containers"]
        callback = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
        assert {"name": callback, "value": IMPORT_PATH} in container["env"]
        folders = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert any(ARGS["api"]["keys"].startswith(f"{folder}/") for folder in folders)


def test_the_largest_service_fits_the_largest_cluster():
    def most(name, section):
        scale = ARGS[section]["scale"]
        return scale.get("max_replicas", 1) * scale.get(name, 0)

    def room(name, group):
        limits = pod(GROUPS[group])["containers"][0]["resources"]["limits"]
        return GROUPS[group]["maxReplicas"] * int(limits[name])

    assert CLUSTER["enableInTreeAutoscaling"] is True
    cpus = sum(most("num_cpus", section) for section in ("api", "retriever", "writer"))
    assert cpus <= room("cpu", "cpu")
    assert most("num_gpus", "generator") == room("nvidia.com/gpu", "gpu")
    assert most("num_cpus", "generator") <= room("cpu", "gpu")


def test_its_ray_is_the_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(f"]=={CLUSTER['rayVersion']}" in needed for needed in project["dependencies"])
