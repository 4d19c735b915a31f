"""Tensors out of bytes that anybody may have made: the header of a safetensors file is bounded first.

Source of the format: https://github.com/huggingface/safetensors: the length of the header as 8 bytes, the
header as JSON, one object for each tensor, then the numbers.
"""

import struct
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from concord.errors import CheckpointError

LARGEST_HEADER = 10 * 2**20  # bytes of JSON in front of the tensors
MOST_TENSORS = 20_000  # 100,000 take seconds


def parse_tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    """The tensors that the bytes of a safetensors file hold; CheckpointError naming ``path`` if none."""
    header = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else LARGEST_HEADER + 1
    if header > LARGEST_HEADER:
        raise CheckpointError(
            f"{path}: not a safetensors file, or a header of more than {LARGEST_HEADER} bytes"
        )
    if content.count(b"{", 9, 8 + header) > MOST_TENSORS:
        raise CheckpointError(
            f"{path}: not a safetensors file of concord, it lists more than {MOST_TENSORS:,} tensors"
        )
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from None
