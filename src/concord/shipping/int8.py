"""An ONNX file with weights and maps of 8 bits, by ONNX Runtime.

Static quantisation: ranges of the maps come from training images, weights have a scale for each output
channel, and the file holds QuantizeLinear and DequantizeLinear around convolutions and dense layers (QDQ).
Normalisation at the start and softmax at the end stay in float32.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from concord.data.splits import Splits
from concord.runs.export_formats import ConversionError, converting

IMAGES = 256  # of the training part, from which the ranges come
BATCH = 32
KINDS = ("Conv", "Gemm", "MatMul")  # operations that are quantised
INPUT = "pixels"


def calibration(splits: Splits) -> Tensor:
    """Training images, spread evenly over the part as it is stored. Shape: (N, C, H, W) uint8"""
    images = splits.train
    index = torch.linspace(0, len(images) - 1, min(IMAGES, len(images))).round().long()
    return images.subset(index).pixels


def quantised(content: bytes, images: Tensor) -> bytes:
    """The file with 8 bits, without a description. ConversionError if ONNX Runtime cannot make it."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as scratch, converting():
        before, after = Path(scratch, "float.onnx"), Path(scratch, "int8.onnx")
        before.write_bytes(content)
        _folded(before)
        quantize_static(
            before,
            after,
            _reader(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(KINDS),
        )
        model = onnx.load(after)
        model.doc_string = onnx.load_from_string(content).doc_string
        return bytes(model.SerializeToString())


def described(content: bytes, about: Mapping[str, str]) -> bytes:
    """The file with this description."""
    import onnx

    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(about))
    return bytes(model.SerializeToString())


def description(content: bytes) -> dict[str, str]:
    """What a file says of itself."""
    import onnx

    return {one.key: one.value for one in onnx.load_from_string(content).metadata_props}


def _folded(file: Path) -> None:
    """Batch normalisation is folded into convolutions before, or their ranges would not be those of use."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(file)
    onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])


def _reader(images: Tensor) -> Any:
    """The images in batches, as ONNX Runtime asks for them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[Tensor] = iter(images.split(BATCH))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch.numpy()}

    return Reader()


__all__ = ["ConversionError", "calibration", "quantised"]
