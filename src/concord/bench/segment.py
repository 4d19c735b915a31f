"""A small U-Net in training, in prediction and on a large picture, beside plain PyTorch, in one run."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from concord.bench import vision
from concord.data.normalise import Normalise
from concord.layers.tiles import Tiled, cut, mirrored
from concord.runs.vision.interface import VisionInterface
from concord.tasks.segment import Segment
from concord.training.evaluate import outputs
from concord.zoo.build import build

NETWORK = "unet(width=8,depth=3,same=1,norm=1)"
VALID = "unet(width=8,depth=3,norm=1)"
CLASSES = 2
PICTURES, BATCH, SIDE = 32, 4, 256
LARGE = 2048


def bench_segment(rounds: int = 5, side: int = LARGE) -> dict[str, Any]:
    """Images per second of processor time on one thread: the best of ``rounds``, the engines in turns.

    concord: a member as a run has it, with everything that ``Ensemble.fit`` does between updates; in
    prediction the classes of all pixels. plain: a loop over the same network in torch's memory layout.
    channels_last: the same in concord's memory layout. tiles: one picture of ``side``, tile by tile and in
    one pass of the same member over the picture, mirrored beyond its ends where convolutions are not padded.
    """
    torch.manual_seed(0)
    plain = build(NETWORK, channels=1, classes=CLASSES)
    member = _member(NETWORK)
    member.network.load_state_dict(plain.state_dict())
    laid = deepcopy(plain).to(memory_format=torch.channels_last)
    x = torch.rand(PICTURES, 1, SIDE, SIDE)
    y = (x[:, 0] > 0.5).long()
    rows = _predict(member, plain, laid, x[:BATCH], rounds)
    rows = _train(member, plain, laid, (x, y), rounds) + rows
    large = torch.rand(1, 1, side, side)
    tiles = {}
    for padding, one in (("same", member), ("valid", _member(VALID))):
        rows += [row | {"padding": padding} for row in _tiles(one, large, rounds)]
        tiles[padding] = _cut(one, side)
    return {
        "network": NETWORK,
        "size": [SIDE, SIDE],
        "batch": BATCH,
        "picture": [side, side],
        "tiles": tiles,
        "torch": torch.__version__,
        "threads": 1,
        "rounds": rounds,
        "rows": rows,
    }


def _member(network: str) -> Tiled:
    interface = VisionInterface("segment", 1, tuple(map(str, range(CLASSES))), Normalise((0.0,), (1.0,)))
    member = vision.member(network, interface)
    assert isinstance(member, Tiled)
    return member


def _train(
    member: nn.Module, plain: nn.Module, laid: nn.Module, data: tuple[Tensor, Tensor], rounds: int
) -> list[dict[str, Any]]:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for index in vision.shuffled(PICTURES, BATCH):
            yield data[0][index], data[1][index]

    engines = {
        "concord": vision.training(member, data, Segment(CLASSES), BATCH),
        "plain": vision.plain_training(plain, batches(), F.cross_entropy),
        "channels_last": vision.plain_training(laid, batches(), F.cross_entropy),
    }
    return vision.in_turns("train", engines, BATCH, rounds)


def _predict(
    member: nn.Module, plain: nn.Module, laid: nn.Module, x: Tensor, rounds: int
) -> list[dict[str, Any]]:
    task = Segment(CLASSES)

    def ours() -> object:
        return task.combine(outputs({vision.ONE: member}, x)).max(1).indices

    def theirs(net: nn.Module) -> vision.Call:
        @torch.no_grad()
        def predict() -> object:
            return net.eval()(x).argmax(1)

        return predict

    engines = {"concord": ours, "plain": theirs(plain), "channels_last": theirs(laid)}
    return vision.in_turns("predict", engines, len(x), rounds)


def _tiles(member: Tiled, x: Tensor, rounds: int) -> list[dict[str, Any]]:
    member.eval()

    @torch.no_grad()
    def one_pass() -> object:
        return member.network(whole(x, member))

    engines = {"concord": lambda: outputs({vision.ONE: member}, x), "one_pass": one_pass}
    return vision.in_turns("tiles", engines, 1, rounds)


def whole(x: Tensor, member: Tiled) -> Tensor:
    """The picture with what one pass needs beyond its ends."""
    margin = member.grid.margin
    for axis in (2, 3):
        x = mirrored(x, axis, -margin, member.grid.fitting(x.shape[axis] + 2 * margin))
    return x


def _cut(member: Tiled, side: int) -> dict[str, int]:
    """Tiles of such a picture, which go through the network one by one, and their side."""
    found = cut(side, member.grid, member.largest)
    return {"count": len(found.begins) ** 2, "side": found.tile}
