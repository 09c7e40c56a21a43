"""What this machine multiplies: `python -m rayraft.models.speed` prints it as one JSON object."""

import json
import math
import time

import torch

from rayraft.models.dtypes import choose_device, quick_precision, torch_dtype

SIZE = 1024
PRODUCTS = 5


def matmul_tflops(device: str = "auto") -> tuple[float, str]:
    """TFLOP/s in the number format that models are loaded in on `device`, and its name.

    The best of a few products of two square matrices, after one to warm up; about a second.
    """
    device = choose_device(device, "auto")
    matrix = torch.ones((SIZE, SIZE), dtype=torch_dtype("auto", device), device=device)
    seconds = math.inf
    for _ in range(1 + PRODUCTS):
        start = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # waits for a GPU too
        seconds = min(seconds, time.perf_counter() - start)
    return 2 * SIZE**3 / seconds / 1e12, quick_precision(device)


if __name__ == "__main__":
    tflops, precision = matmul_tflops()
    print(json.dumps({"tflops": tflops, "precision": precision}))
