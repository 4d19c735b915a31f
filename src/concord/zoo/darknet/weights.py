"""Files ``.weights`` of darknet: a header, then the numbers of every layer as float32, little-endian.

Source: J. Redmon, darknet, parser.c (load_weights_upto, save_weights_upto).

The header is major, minor and revision (int32 each), then the number of pictures seen in training: 8 bytes
from version 0.2 on, 4 bytes before, so 20 or 16 bytes together. A convolution is stored as biases, (scales,
means, variances), weights; a dense layer as biases, weights, (scales, means, variances); what stands in
brackets is there with batch normalisation, whose shift is the bias. Versions above 1000, of the first files,
hold the weights of dense layers transposed and 4 bytes of pictures.

The order of the layers is that of the network's modules, which is darknet's in networks of ``.cfg`` files and
in the zoo's. Files that end after some of the layers (darknet's ``partial``) are refused as truncated.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from concord.errors import DataError, MissingDataError, UsageError, amount
from concord.zoo.darknet.layers import Local

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
COUNTER = "num_batches_tracked"  # of torch alone


@dataclass(frozen=True)
class Header:
    """What stands before the numbers."""

    major: int = 0
    minor: int = 2
    revision: int = 0
    seen: int = 0

    @property
    def is_transposed(self) -> bool:
        return self.major > 1000 or self.minor > 1000

    @property
    def kind_of_seen(self) -> str:
        is_new = self.major * 10 + self.minor >= 2 and self.major < 1000 and self.minor < 1000
        return "<u8" if is_new else "<u4"

    def to_bytes(self) -> bytes:
        numbers = np.array([self.major, self.minor, self.revision], "<i4").tobytes()
        return numbers + np.array([self.seen], self.kind_of_seen).tobytes()


class Stored(NamedTuple):
    """A tensor in its place in the file; ``dense`` is the weight of a dense layer."""

    path: str
    tensor: Tensor
    dense: bool = False


def load_darknet(network: nn.Module, path: Path) -> Header:
    """Fill a network with the numbers of a file, and return the header, which ``written`` takes.

    DataError for a file that is missing, truncated, too long or made for another network, and for numbers
    that are not finite; UsageError for a network with layers that the format does not have.
    """
    data = _bytes(path)
    header = _header(path, data)
    places = list(stored(network))
    start, expected = len(header.to_bytes()), sum(place.tensor.numel() for place in places)
    found, rest = divmod(len(data) - start, 4)
    if found != expected or rest:
        bytes_left = f" and {amount(rest, 'byte')}" if rest else ""
        what = "is truncated, or " if found < expected else "is too long, or "
        raise DataError(
            f"{path}: {what}holds weights of another network: expected {expected:,} numbers of 4 bytes after "
            f"the header of {start}, found {amount(found, 'number')}{bytes_left}"
        )
    numbers = np.frombuffer(data, "<f4", offset=start)
    filled: list[tuple[Tensor, Tensor]] = []
    for place in places:
        part, numbers = np.split(numbers, [place.tensor.numel()])
        if not np.isfinite(part).all() or (place.path.endswith("running_var") and (part < 0).any()):
            raise DataError(f"{path}: numbers for {place.path} are not finite, or variances below zero")
        filled.append((place.tensor, _from_file(place, part, header)))
    with torch.no_grad():
        for tensor, values in filled:
            tensor.copy_(values)
    return header


def written(network: nn.Module, header: Header = Header()) -> bytes:
    """The file of a network's weights. What ``load_darknet`` read comes back bit for bit with its header.

    UsageError for a network with layers that the format does not have.
    """
    parts = [header.to_bytes()]
    for place in stored(network):
        values = place.tensor.detach().to("cpu", torch.float32)
        values = values.t() if place.dense and header.is_transposed else values
        parts.append(values.contiguous().numpy().astype("<f4", copy=False).tobytes())
    return b"".join(parts)


def stored(network: nn.Module) -> Iterator[Stored]:
    """The tensors of a network in the order of the file; UsageError for one that has no place in it."""
    layers = [(path, m) for path, m in network.named_modules() if [*m.parameters(False), *m.buffers(False)]]
    places: list[Stored] = []
    for i, (path, layer) in enumerate(layers):
        norm = layers[i + 1] if i + 1 < len(layers) and isinstance(layers[i + 1][1], NORMS) else None
        if isinstance(layer, nn.Conv2d | nn.Linear | Local):
            places += _of_layer(path, layer, norm)
    have = {id(place.tensor) for place in places}
    named = [*network.named_parameters(), *network.named_buffers()]
    for path, tensor in named:
        if id(tensor) not in have and not path.endswith(COUNTER):
            raise UsageError(f"darknet's format has no place for {path} of {type(network).__name__}")
    yield from places


def _of_layer(path: str, layer: nn.Module, norm: tuple[str, nn.Module] | None) -> Iterator[Stored]:
    weight = Stored(f"{path}.weight", layer.get_parameter("weight"), isinstance(layer, nn.Linear))
    if layer.bias is not None:
        yield Stored(f"{path}.bias", layer.get_parameter("bias"))
        yield weight
        return
    if norm is None:
        raise UsageError(f"darknet's format has no place for {path}, which has neither biases nor a norm")
    place, module = norm
    kept = [
        Stored(f"{place}.{name}", getattr(module, name)) for name in ("weight", "running_mean", "running_var")
    ]
    yield Stored(f"{place}.bias", module.get_parameter("bias"))
    yield from (weight, *kept) if weight.dense else (*kept, weight)


def _from_file(
    place: Stored, part: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", header: Header
) -> Tensor:
    shape = tuple(place.tensor.shape)
    if place.dense and header.is_transposed:
        return torch.from_numpy(part.reshape(shape[::-1]).T.astype(np.float32))
    return torch.from_numpy(part.reshape(shape).astype(np.float32))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingDataError(f"{path}: no such file of weights") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _header(path: Path, data: bytes) -> Header:
    if len(data) < 16:
        raise DataError(f"{path}: is truncated: expected a header of 16 or 20 bytes, found {len(data)}")
    header = Header(*np.frombuffer(data, "<i4", 3).tolist())
    seen = data[12 : 12 + np.dtype(header.kind_of_seen).itemsize]
    if len(seen) < np.dtype(header.kind_of_seen).itemsize:
        raise DataError(f"{path}: is truncated: expected a header of 20 bytes, found {len(data)}")
    return Header(
        header.major, header.minor, header.revision, int(np.frombuffer(seen, header.kind_of_seen)[0])
    )
