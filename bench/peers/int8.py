"""The int8 back ends of sentence-transformers, made from MiniLM as its own documentation says.

They run in a process and an environment of their own, because their exporters (optimum) cannot be
imported beside the Transformers that this project uses: `PEER_PYTHON=<interpreter with
sentence-transformers, optimum[onnxruntime], optimum-intel[openvino]>`. The bench's side is `Apart`.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

KIND = "avx512_vnni" if "avx512_vnni" in Path("/proc/cpuinfo").read_text() else "avx2"
"""Of ONNX Runtime's int8 kernels."""
CALIBRATION = 100  # texts that OpenVINO's quantisation looks at
ROOT = Path(__file__).parents[2]
WORK, VECTORS = "work.json", "vectors.npy"


class Apart:
    """A back end in its own process, which encodes the same texts whenever it is asked.

    Args:
        back_end: A key of `BACK_ENDS`.
        python: The interpreter that has what it needs.
        folder: Empty, for what both sides write.
        work: texts, model folder, threads, max_tokens, batch_size.

    Raises:
        RuntimeError: It could not be made; with the last line of what it said.
    """

    def __init__(self, back_end: str, python: str, folder: Path, work: dict[str, Any]) -> None:
        folder.mkdir()
        (folder / WORK).write_text(json.dumps(work), encoding="utf-8")
        self.vectors_file = folder / VECTORS
        log = folder / "log"
        with log.open("wb") as file:
            self._child = subprocess.Popen(
                [python, "-m", "bench.peers.int8", back_end, str(folder)],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
            )
        if not self._answered():
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            raise RuntimeError(lines[-1] if lines else "no word from its process")

    def encode(self) -> None:
        """Encodes all texts once."""
        assert self._child.stdin
        self._child.stdin.write(b"\n")
        self._child.stdin.flush()
        if not self._answered():
            raise RuntimeError("its process has ended")

    def close(self) -> None:
        """Ends the process."""
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait()

    def _answered(self) -> bool:
        assert self._child.stdout
        return bool(self._child.stdout.readline())


def onnx_int8(folder: Path, work: dict[str, Any]) -> Any:
    """ONNX Runtime with dynamically quantised weights and activations."""
    import onnxruntime
    from sentence_transformers.backend import export_dynamic_quantized_onnx_model

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = work["threads"]
    given: dict[str, Any] = {"provider": "CPUExecutionProvider", "session_options": options}
    exported = _load("onnx", work["model"], {**given, "export": True})
    exported.save_pretrained(str(folder))
    export_dynamic_quantized_onnx_model(exported, KIND, str(folder))
    (file,) = folder.glob("onnx/*int8*.onnx")
    return _load("onnx", str(folder), {**given, "file_name": f"onnx/{file.name}"})


def openvino_int8(folder: Path, work: dict[str, Any]) -> Any:
    """OpenVINO, quantised after calibration with some of the texts."""
    from datasets import Dataset
    from optimum.intel.openvino import OVConfig, OVQuantizationConfig, OVQuantizer

    texts: Sequence[str] = work["texts"]
    few = texts[:: max(1, len(texts) // CALIBRATION)]
    given = {"ov_config": {"INFERENCE_NUM_THREADS": work["threads"]}}
    exported = _load("openvino", work["model"], {**given, "export": True})
    exported.save_pretrained(str(folder))
    config = OVConfig(quantization_config=OVQuantizationConfig(num_samples=len(few)))
    encoded = exported.tokenizer(list(few), truncation=True, max_length=work["max_tokens"])
    rows = Dataset.from_dict({name: encoded[name] for name in encoded})
    OVQuantizer.from_pretrained(exported[0].model).quantize(
        rows, save_directory=str(folder / "int8"), ov_config=config
    )
    for file in ("openvino_model.xml", "openvino_model.bin"):
        (folder / "int8" / "openvino" / file).replace(folder / "openvino" / file)
    return _load("openvino", str(folder), given)


BACK_ENDS: dict[str, Callable[[Path, dict[str, Any]], Any]] = {
    "ONNX int8": onnx_int8,
    "OpenVINO int8": openvino_int8,
}


def _load(backend: Any, folder: str, given: dict[str, Any]) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu", backend=backend, model_kwargs=given)


def main(back_end: str, folder: Path) -> None:
    """The process: a line when it is ready and a line a time it has encoded everything."""
    import numpy as np

    answers = os.fdopen(os.dup(1), "w")
    work = json.loads((folder / WORK).read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(sys.stderr):  # libraries print, too
        model = BACK_ENDS[back_end](folder, work)
        model.max_seq_length = work["max_tokens"]

        def encode() -> Any:
            return model.encode(
                work["texts"], batch_size=work["batch_size"], normalize_embeddings=True
            )

        np.save(folder / VECTORS, np.asarray(encode(), dtype=np.float32))
        print("ready", file=answers, flush=True)
        for _ in sys.stdin:
            encode()
            print("done", file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
