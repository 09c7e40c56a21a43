def test_the_shared_ray_runs_tasks_on_two_cpus(ray_cluster):
    import ray

    assert ray.cluster_resources()["CPU"] == 2
    assert ray.get([ray.remote(abs).remote(-1) for _ in range(2)]) == [1, 1]
