"""Ray Serve: the answering service. Always `import ray.serve`, never `from ray import serve`."""

import rayraft  # noqa: F401  # before torch: it says how threads wait for each other
