"""The int8 back ends of sentence-transformers, made from MiniLM as its own documentation says.

What they import is theirs alone: a release of one of them may not know that of Transformers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from rayraft.models.embedder_tokenizer import model_folder

KIND = "avx512_vnni" if "avx512_vnni" in Path("/proc/cpuinfo").read_text() else "avx2"
"""Of ONNX Runtime's int8 kernels."""


def onnx_int8(folder: Path, threads: int, max_tokens: int) -> SentenceTransformer:
    """ONNX Runtime with dynamically quantised weights and activations."""
    import onnxruntime
    from sentence_transformers.backend import export_dynamic_quantized_onnx_model

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    given: dict[str, Any] = {"provider": "CPUExecutionProvider", "session_options": options}
    exported = _load("onnx", str(model_folder("minilm")), {**given, "export": True})
    exported.save_pretrained(str(folder))
    export_dynamic_quantized_onnx_model(exported, KIND, str(folder))
    (file,) = folder.glob("onnx/*qint8*.onnx")
    made = _load("onnx", str(folder), {**given, "file_name": f"onnx/{file.name}"})
    made.max_seq_length = max_tokens
    return made


def openvino_int8(
    folder: Path, threads: int, max_tokens: int, texts: Sequence[str]
) -> SentenceTransformer:
    """OpenVINO, quantised after calibration with these texts."""
    from datasets import Dataset
    from optimum.intel.openvino import OVConfig, OVQuantizationConfig, OVQuantizer

    given = {"ov_config": {"INFERENCE_NUM_THREADS": threads}}
    exported = _load("openvino", str(model_folder("minilm")), {**given, "export": True})
    exported.save_pretrained(str(folder))
    config = OVConfig(quantization_config=OVQuantizationConfig(num_samples=len(texts)))
    encoded = exported.tokenizer(list(texts), truncation=True, max_length=max_tokens)
    rows = Dataset.from_dict({name: encoded[name] for name in encoded})
    OVQuantizer.from_pretrained(exported.transformers_model).quantize(
        rows, save_directory=str(folder / "int8"), ov_config=config
    )
    for file in ("openvino_model.xml", "openvino_model.bin"):
        (folder / "int8" / file).replace(folder / "openvino" / file)
    made = _load("openvino", str(folder), given)
    made.max_seq_length = max_tokens
    return made


def _load(backend: Any, folder: str, given: dict[str, Any]) -> SentenceTransformer:
    return SentenceTransformer(folder, device="cpu", backend=backend, model_kwargs=given)
