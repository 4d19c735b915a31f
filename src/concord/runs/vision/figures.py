"""What members of a run of masks or boxes cost, and what its training took."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from concord.cost.count import count
from concord.layers.tiles import Tiled
from concord.runs.vision.interface import VisionInterface
from concord.runs.vision.members import example
from concord.runs.vision.result import Price, Spent
from concord.training.final import Final


def prices(
    members: Mapping[str, nn.Module], interface: VisionInterface, size: tuple[int, int]
) -> dict[str, Price]:
    """Parameters and multiply-accumulates of every member, on one picture of this height and width."""
    return {name: _price(member, interface, size) for name, member in members.items()}


def _price(member: nn.Module, interface: VisionInterface, size: tuple[int, int]) -> Price:
    network = member.network if isinstance(member, Tiled) else member
    return Price.of(count(network, example(interface, network, 1, size)))


def spent_by(
    done: Final[Any], interface: VisionInterface, run: str, fingerprint: str, size: tuple[int, int]
) -> Spent:
    """What a training took that ended so."""
    about = interface.task, interface.classes, run
    return Spent(
        *about, done.seconds, done.samples_per_second, done.epochs, done.checkpoint, fingerprint, size
    )
