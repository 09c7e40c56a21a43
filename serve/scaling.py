"""How many replicas a deployment has, how long its queues may grow, and how Serve is told."""

from typing import Any

from pydantic import Field, model_validator

from rayraft.config import Config

RETRY_AFTER_S = 1
"""What a refused client is told to wait: a queue of 64 answers drains in about that."""
HEALTH_CHECK_PERIOD_S = 10
"""A check of an idle engine runs it once; so long after a piece of work none is needed."""
GRACE_S = 5
"""How long a replica that has to go may take for what it has begun."""
METRICS_INTERVAL_S = 0.5
"""How often load is told to the controller (Ray's own default is 10)."""
LOOK_BACK_S = 2.0
"""What load is averaged over (Ray's own default is 30): a step counts in full after so long."""
ONLY_WAITS = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
}
"""Ray Serve's settings, read by a replica's process, for code that only waits for others: requests
do not change threads, and go from here to the others by gRPC, not as calls of actors. On two cores,
an answer took 171 ms instead of 197 by the first two; by the third, each call takes 4 ms instead of
6. Code that computes would keep health checks waiting."""


class ScaleConfig(Config):
    """How many replicas a deployment has and how long its queues may grow."""

    min_replicas: int = Field(default=1, ge=1)
    """Replicas that always run."""
    max_replicas: int = Field(default=1, ge=1)
    """Replicas under the highest load."""
    target_ongoing_requests: float = Field(default=4, gt=0)
    """Requests per replica that autoscaling aims at."""
    upscale_delay_s: float = Field(default=1, ge=0)
    """How long load must last before a replica is added (Ray's own default is 30)."""
    downscale_delay_s: float = Field(default=120, ge=0)
    """How long a replica must be idle before it goes."""
    max_ongoing_requests: int = Field(default=32, ge=1)
    """Requests that one replica works on at the same time."""
    max_queued_requests: int = Field(default=64, ge=1)
    """Requests that each caller keeps waiting; more are refused with 429."""
    num_cpus: float = Field(default=0.1, ge=0)
    """CPUs that Ray reserves per replica; says nothing of threads."""
    num_gpus: float = Field(default=0, ge=0)
    """GPUs that Ray reserves per replica."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "ScaleConfig":
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas={self.max_replicas} is below min_replicas={self.min_replicas}"
            )
        return self


class SleepingScaleConfig(ScaleConfig):
    """As every deployment's, and with no replica at all while there is nothing to do."""

    min_replicas: int = Field(default=1, ge=0)
    """Replicas that always run. 0 lets an idle model go after `downscale_delay_s`; the next request
    waits for its start, for which `api.request_timeout_s` must be long enough."""

    @property
    def sleeps(self) -> bool:
        """Whether there may be no replica."""
        return self.min_replicas == 0


def deployment_options(scale: ScaleConfig, only_waits: bool = False) -> dict[str, Any]:
    """The arguments of `ray.serve.deployment` for one section.

    Args:
        scale: The section's.
        only_waits: Whether the deployment's code runs in its replica's own event loop.
    """
    actor: dict[str, Any] = {"num_cpus": scale.num_cpus, "num_gpus": scale.num_gpus}
    if only_waits:
        actor["runtime_env"] = {"env_vars": ONLY_WAITS}
    return {
        "autoscaling_config": {
            "min_replicas": scale.min_replicas,
            "initial_replicas": scale.min_replicas,
            "max_replicas": scale.max_replicas,
            "target_ongoing_requests": scale.target_ongoing_requests,
            "metrics_interval_s": METRICS_INTERVAL_S,
            "look_back_period_s": LOOK_BACK_S,
            "upscale_delay_s": scale.upscale_delay_s,
            "downscale_delay_s": scale.downscale_delay_s,
        },
        "max_ongoing_requests": scale.max_ongoing_requests,
        "max_queued_requests": scale.max_queued_requests,
        "backpressure_config": {"status_code": 429, "retry_after_s": RETRY_AFTER_S},
        "ray_actor_options": actor,
        "health_check_period_s": HEALTH_CHECK_PERIOD_S,
        "health_check_timeout_s": 30,
        "graceful_shutdown_timeout_s": GRACE_S,
        "max_constructor_retry_count": 3,  # what is wrong once is mostly wrong for ever
    }
