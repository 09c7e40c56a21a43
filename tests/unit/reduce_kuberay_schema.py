"""Makes `golden/kuberay_rayservice.json` of KubeRay's RayService CRD.

    python tests/unit/reduce_kuberay_schema.py ray.io_rayservices.yaml COMMIT

where the file is `helm-chart/kuberay-operator/crds/ray.io_rayservices.yaml` of that commit of
github.com/ray-project/kuberay (Apache-2.0). The CRD has a megabyte, nearly all of it Kubernetes'
pod template, which stands in it several times. Kept are the whole RayService and RayCluster; of the
pod template, which is kept once, the parts named here. Unknown fields are refused, as
`kubectl --validate=strict` does.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

TARGET = Path(__file__).parent / "golden" / "kuberay_rayservice.json"
POD = {"containers", "volumes", "tolerations", "nodeSelector", "serviceAccountName"}
CONTAINER = {"name", "image", "ports", "env", "envFrom", "resources", "volumeMounts"}
CONTAINER |= {"command", "args", "imagePullPolicy"}
VOLUME = {"name", "secret", "configMap", "emptyDir", "persistentVolumeClaim"}
DROPPED = {"description", "x-kubernetes-validations", "x-kubernetes-int-or-string"}
DROPPED |= {"x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type"}
DROPPED |= {"default", "format"}


def reduced(crd: dict[str, Any], source: str) -> dict[str, Any]:
    """JSON schema of version v1 of the resource."""
    (v1,) = (version for version in crd["spec"]["versions"] if version["name"] == "v1")
    schema = v1["schema"]["openAPIV3Schema"]
    spec = schema["properties"]["spec"]["properties"]
    cluster = spec["rayClusterConfig"]["properties"]
    template = cluster["headGroupSpec"]["properties"]["template"]
    pod = template["properties"]["spec"]
    containers = pod["properties"]["containers"]["items"]
    _keep(containers, CONTAINER)
    _keep(pod["properties"]["volumes"]["items"], VOLUME)
    _keep(pod, POD)
    strict = _strict(template)
    for group in (cluster["headGroupSpec"], cluster["workerGroupSpecs"]["items"]):
        group["properties"]["template"] = {"$ref": "#/$defs/podTemplate"}
    # The operator's own services and sidecar, which the file leaves to it.
    for name, at in (
        ("serveService", spec),
        ("headService", cluster["headGroupSpec"]["properties"]),
    ):
        del at[name]
    _keep(cluster["autoscalerOptions"], {"version", "upscalingMode", "idleTimeoutSeconds"})
    del schema["properties"]["status"]
    schema["properties"]["metadata"] = {"type": "object"}
    return {"$comment": source, **_strict(schema), "$defs": {"podTemplate": strict}}


def _keep(schema: dict[str, Any], names: set[str]) -> None:
    schema["properties"] = {n: s for n, s in schema["properties"].items() if n in names}


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    small = {name: _strict(value) for name, value in schema.items() if name not in DROPPED}
    if isinstance(schema.get("properties"), dict):
        # A property may have the name of a keyword.
        small["properties"] = {n: _strict(s) for n, s in schema["properties"].items()}
        small.setdefault("additionalProperties", False)
    if schema.get("type") == "object" and "properties" not in small:
        small.setdefault("additionalProperties", True)
    return small


if __name__ == "__main__":
    path, commit = sys.argv[1:]
    source = (
        f"From github.com/ray-project/kuberay at {commit}, Apache-2.0: "
        "helm-chart/kuberay-operator/crds/ray.io_rayservices.yaml, reduced by "
        "tests/unit/reduce_kuberay_schema.py"
    )
    crd = yaml.load(Path(path).read_text(encoding="utf-8"), yaml.CSafeLoader)
    text = json.dumps(reduced(crd, source), separators=(",", ":"), sort_keys=True)
    TARGET.write_text(text + "\n", encoding="utf-8")
