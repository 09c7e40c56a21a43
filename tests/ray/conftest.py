"""What the slow tests share: one local Ray for the whole session."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from train.loop import World

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


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator["World"]:
    """A gloo group of this process, without Ray."""
    import torch.distributed as dist

    before = dict(os.environ)
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    store = dist.FileStore(  # type: ignore[attr-defined]  # documented, not exported
        str(tmp_path_factory.mktemp("group") / "store"), 1
    )
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    from train.loop import World

    yield World(world_rank=0, size=1)
    from deepspeed.comm import comm

    # DeepSpeed's own, where it runs: it also forgets the groups that it keeps.
    (dist if comm.cdb is None else comm).destroy_process_group()
    comm.cdb = None
    os.environ.clear()
    os.environ.update(before)
