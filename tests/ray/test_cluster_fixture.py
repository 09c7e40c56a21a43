import ray


def test_the_shared_ray_has_two_cpus_and_runs_tasks(ray_cluster):
    @ray.remote
    def double(value: int) -> int:
        return 2 * value

    assert ray.cluster_resources()["CPU"] == 2
    assert ray.get([double.remote(value) for value in (1, 2)]) == [2, 4]
