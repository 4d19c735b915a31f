"""Ensembles in one network by their names, made of networks of the zoo, torchvision and timm."""

from collections.abc import Iterator

import torch
from torch import nn

from concord.errors import UsageError
from concord.zoo import registry
from concord.zoo.build import build, sizes_in, sizes_of
from concord.zoo.ensembles.batch import batch_ensemble
from concord.zoo.ensembles.inner import InnerEnsemble
from concord.zoo.ensembles.names import Named
from concord.zoo.ensembles.packed import packed_ensemble

SIDES = (32, 28, 64, 96, 224, 299)  # of pictures that a network of a library may take


def made(named: Named, *, channels: int, classes: int) -> InnerEnsemble:
    """A new ensemble of that name, (B, channels, H, W) -> (B, classes) in evaluation.

    UsageError for a network that does not exist or of which no such ensemble can be made.
    """
    network = build(named.network, channels=channels, classes=classes)
    members = int(named.options["members"])
    if named.kind == "batch_ensemble":
        return batch_ensemble(network, members)
    alpha, gamma = named.options["alpha"], int(named.options["gamma"])
    refused: UsageError | None = None
    for shape in _shapes(named.network, channels):
        if _takes(network, shape):
            try:
                return packed_ensemble(network, shape, members, alpha, gamma)
            except UsageError as error:
                raise UsageError(f"{named.network}: {error}") from error
        refused = UsageError(f"{named.network} takes no picture whose side is one of {SIDES}")
    raise refused or UsageError(f"{named.network} takes no pictures, so it cannot be packed")


def _shapes(network: str, channels: int) -> Iterator[tuple[int, ...]]:
    """Of samples that the network may take: that of its entry in the zoo, or squares of usual sides."""
    own = network.partition("(")[0]
    if own not in registry.names() or (entry := registry.find(own)).library:
        yield from ((channels, side, side) for side in SIDES)
    elif len(entry.example) == 3:
        yield (channels, *entry.sample({**sizes_of(entry.build), **(sizes_in(network) or {})})[1:])


@torch.no_grad()
def _takes(network: nn.Module, shape: tuple[int, ...]) -> bool:
    training = [module for module in network.modules() if module.training]
    network.eval()
    weight = next(network.parameters())
    try:
        network(torch.zeros(2, *shape).to(weight))
    except Exception:  # a network of a library may raise anything
        return False
    finally:
        for module in training:
            module.training = True
    return True
