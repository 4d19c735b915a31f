"""Weights from a file into a network that may have another number of classes or channels.

A file is safetensors, or what ``torch.save`` wrote of a state dict; the latter is read with ``weights_only``,
which runs no code of the file. ``FILE.weights`` is one of darknet, which fits one network only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from concord.errors import CheckpointError
from concord.zoo.darknet.weights import load_darknet
from concord.zoo.foreign import fit_kernel

WRAPPED = ("state_dict", "model_state_dict", "model")  # keys under which programs put the state dict
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads of torchvision that concord leaves out
COUNTED = "num_batches_tracked"  # older files do not have it


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill the network from a file of weights.

    A first convolution for another number of channels is fitted as ``fit_kernel`` says; a last layer for
    another number of classes stays as it starts. CheckpointError for a file that cannot be read or that was
    made for another network; for a file of darknet DataError, see ``zoo.darknet.weights``.
    """
    if path.suffix == ".weights":
        load_darknet(network, path)
        return
    given = {key: value for key, value in read_weights(path).items() if not key.startswith(AUXILIARY)}
    own = network.state_dict()
    strange = sorted(given.keys() - own.keys())
    missing = sorted(key for key in own.keys() - given.keys() if not key.endswith(COUNTED))
    if strange or missing:
        lacks = f"it lacks {missing[0]}" if missing else f"it has {strange[0]}"
        raise CheckpointError(f"{path} holds weights of another network than this: {lacks}")
    head = _head(network)
    fitted = {key: _fitted(path, key, own[key], value, head) for key, value in given.items()}
    network.load_state_dict({**own, **fitted})


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name; CheckpointError if there is none or it is no file of weights."""
    try:
        found: Mapping[str, Any] = load_file(path) if path.suffix == ".safetensors" else _of_torch(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file of weights") from None
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as a file of weights ({error})") from None
    inner: Mapping[str, Any] = next((v for k in WRAPPED if isinstance(v := found.get(k), Mapping)), found)
    tensors = {str(key).removeprefix("module."): value for key, value in inner.items()}
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"{path}: holds no state dict, which is one tensor for each name")
    return tensors


def _of_torch(path: Path) -> dict[str, Any]:
    with path.open("rb"):  # so that a file that is not there is told as that
        pass
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file may raise anything
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path}: cannot be read as a state dict of torch ({first}); save it as safetensors"
        ) from None
    return dict(found) if isinstance(found, Mapping) else {}


def _head(network: nn.Module) -> str:
    """Path of the last layer: the one that gives a number for each class."""
    layers = [path for path, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return f"{layers[-1]}." if layers else ""


def _fitted(path: Path, key: str, own: Tensor, given: Tensor, head: str) -> Tensor:
    """What becomes of a tensor of the file."""
    if given.shape == own.shape:
        return given
    if head and key.startswith(head) and given.shape[1:] == own.shape[1:]:
        return own  # other classes
    apart = (*given.shape[:1], *given.shape[2:]) == (*own.shape[:1], *own.shape[2:])
    if given.ndim == 4 and given.shape[1] == 3 and apart:
        return fit_kernel(given, own.shape[1])
    raise CheckpointError(
        f"{path} holds weights of another network than this: {key} is {tuple(given.shape)}, "
        f"expected {tuple(own.shape)}"
    )
