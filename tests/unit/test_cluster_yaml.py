"""What this project asks of its launcher file; tests/ray checks it against Ray's schema."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
NODES = CONFIG["available_node_types"]


def test_head_runs_no_work_and_has_no_gpu():
    assert NODES[CONFIG["head_node_type"]]["resources"] == {"CPU": 0}


def test_worker_groups_scale_from_zero_within_the_clusters_limit():
    workers = {name: node for name, node in NODES.items() if name != CONFIG["head_node_type"]}
    assert set(workers) == {"data", "gpu"}
    assert all(node["min_workers"] == 0 < node["max_workers"] for node in workers.values())
    assert sum(node["max_workers"] for node in workers.values()) <= CONFIG["max_workers"]
    assert "GPU" not in workers["data"]["resources"]
    assert workers["gpu"]["resources"]["GPU"] == 1


def test_images_and_torch_are_the_versions_that_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = " ".join(project["dependencies"])
    ray_version = re.search(r"ray\[[a-z,]+\]==(\S+)", asked)
    torch_version = re.search(r"torch==(\S+)", asked)
    assert ray_version
    assert torch_version
    images = [CONFIG["docker"]["image"], NODES["gpu"]["docker"]["worker_image"]]
    assert all(image.startswith(f"rayproject/ray:{ray_version[1]}-py311-") for image in images)
    assert f"pip install torch=={torch_version[1]}" in CONFIG["setup_commands"]
