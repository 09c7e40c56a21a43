"""What the slow tests share: one local Ray for the whole session."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.ray)
            # Ray, torch and DeepSpeed warn on their own account; that is not ours to fail on.
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A Ray of two CPUs in its own folder, which is gone afterwards."""
    ray = pytest.importorskip("ray")
    # Short, because Ray puts Unix sockets (107 characters at most) below it.
    folder = tempfile.mkdtemp(prefix="rr-", dir="/tmp")
    try:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=512 * 2**20,
            _temp_dir=folder,
            log_to_driver=True,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
