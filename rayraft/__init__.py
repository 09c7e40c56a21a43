"""The core: records, configuration, prompts, answers, metrics. Knows nothing of Ray or torch."""

import os

__version__ = "0.1.0"

# Read by GNU OpenMP when torch or faiss loads it, so it is said before either of them. Its threads
# wait for each other at the end of every loop, by default in 300,000 rounds of doing nothing, 12 ms
# here. Where other processes want the cores, as a service's do, a waiting thread keeps the awaited
# one from its core for that long at every operation: attention that takes 2 ms alone on two cores
# took 12 beside one busy process, and takes 2 to 3 with 1,000 rounds; alone 3% are lost by them.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
