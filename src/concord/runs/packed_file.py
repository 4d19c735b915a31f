"""One member as a packed file, bits in the place of binary weights, and what such a file answers by itself.

It is a safetensors file of the state dict of ``pack(network)``. Its metadata hold what ``interface.json`` of
a run holds, the name of the network in the zoo, from which it is built again, and a hash of the tensors.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from concord.consensus.names import ENSEMBLE
from concord.errors import CheckpointError, UsageError
from concord.files.tensors import parse_tensors
from concord.layers.packed.network import has_binary_layers, pack
from concord.runs.export_formats import safetensors_file
from concord.runs.interface import Interface
from concord.runs.precision import whole_float32
from concord.training.evaluate import outputs
from concord.training.state import state_of
from concord.zoo import registry
from concord.zoo.build import build
from concord.zoo.limits import Limit, TooLargeError, bounded

FORMAT = "1"
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class PackedMember:
    """A member that stands in a file alone."""

    checkpoint: Path
    name: str
    interface: Interface
    network: nn.Module

    def probabilities(self, pixels: Tensor, member: str = ENSEMBLE) -> Tensor:
        """softmax of its logits; UsageError for another member. Shape: uint8 (B, C, H, W) -> (B, K)"""
        self.require(member)
        x = self.interface.normalise(pixels).contiguous(memory_format=torch.channels_last)
        with whole_float32():
            return torch.stack(outputs({self.name: self.network}, x)).mean(0).softmax(-1)

    def require(self, member: str) -> None:
        """UsageError unless the file holds the member."""
        if member not in (ENSEMBLE, self.name):
            raise UsageError(f"{self.checkpoint} holds the member {self.name} alone, not {member!r}")


def packed_file(
    network: nn.Module, name: str, zoo_name: str, about: Mapping[str, str], interface: Interface
) -> bytes:
    """The file of a member; UsageError if it is not of concord's zoo, or has no binary layer."""
    if not _in_zoo(zoo_name):
        raise UsageError(
            f"member {name} is {zoo_name}, and a packed file is built again from networks of concord's zoo"
            " alone (`concord zoo`): export its weights unpacked, or use concord.layers.pack in Python"
        )
    if not has_binary_layers(network):
        raise UsageError(f"member {name} ({zoo_name}) has no binary layers to pack: export it unpacked")
    made, plain = pack(network), interface.plain()
    own = {**about, "network": zoo_name, "packed": FORMAT}
    tensors = _numbers(safetensors_file(made, own, plain))
    return safetensors_file(made, {**own, "sha256": hashlib.sha256(tensors).hexdigest()}, plain)


def read_packed(path: Path) -> PackedMember:
    """The member of a packed file; CheckpointError if it is damaged, or another file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    return opened(path, content)


def opened(path: Path, content: bytes) -> PackedMember:
    """``read_packed`` of bytes."""
    tensors = parse_tensors(path, content)
    about = _metadata(content)
    if about.get("packed") != FORMAT:
        raise CheckpointError(
            f"{path}: not a packed file of this version of concord; `concord export RUN --member NAME --to"
            " FILE.safetensors --packed` writes one"
        )
    if about.get("sha256") != hashlib.sha256(_numbers(content)).hexdigest():
        raise CheckpointError(
            f"{path}: damaged, its tensors are not those that were written: export it again"
        )
    try:
        interface = Interface.from_plain(json.loads(about["interface"]))
        zoo_name, member = about["network"], about["member"]
    except (CheckpointError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged, its metadata do not describe a network ({error})") from None
    return PackedMember(path, member, interface, _filled(path, zoo_name, interface, tensors))


def _filled(path: Path, name: str, interface: Interface, tensors: Tensors) -> nn.Module:
    numbers = sum(tensor.numel() for tensor in tensors.values())
    limit = Limit(10 * len(tensors) + 100, 64 * numbers + 10_000_000, "is larger than its file")
    try:
        if not _in_zoo(name):
            raise UsageError(f"{name!r} is not a network of concord's zoo")
        with bounded(limit):
            network = build(name, channels=interface.shape[0], classes=len(interface.classes))
        made = pack(network)
    except (TooLargeError, UsageError, RuntimeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{path}: damaged, its network cannot be built: {error}") from None
    _require_same(path, name, state_of(made), tensors)
    made.load_state_dict(dict(tensors))
    return made


def _require_same(path: Path, name: str, wanted: Tensors, given: Tensors) -> None:
    """CheckpointError that names a tensor of another shape or type, or that one of the two lacks."""
    for key in sorted({*wanted, *given}, key=lambda key: (key not in wanted or key not in given, key)):
        expected, found = (
            "none" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
            for tensor in (wanted.get(key), given.get(key))
        )
        if expected != found:
            raise CheckpointError(
                f"{path}: not the tensors of a packed {name}: {key} is {found}, expected {expected}"
            )


def _in_zoo(name: str) -> bool:
    """Whether it is a network of concord's own, in any size: not a file, code, or another library's."""
    plain = name.partition("(")[0]
    return plain in registry.names() and not registry.find(plain).library


def _metadata(content: bytes) -> dict[str, str]:
    """Of a file that ``parse_tensors`` has read."""
    return json.loads(content[8 : 8 + _header(content)]).get("__metadata__") or {}


def _numbers(content: bytes) -> bytes:
    """What stands behind the header."""
    return content[8 + _header(content) :]


def _header(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")
