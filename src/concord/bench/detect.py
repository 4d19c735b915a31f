"""The small YOLO v3 in training and in prediction, beside plain PyTorch loops, in one run."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from concord.bench import plain_yolo, vision
from concord.data.detection.boxed import NORMALISE
from concord.runs.vision.heads import head_with
from concord.runs.vision.interface import VisionInterface
from concord.tasks.detect import Detect
from concord.tasks.detection.v3 import YoloV3
from concord.training.evaluate import outputs
from concord.zoo.build import build

NETWORK, CLASSES = "yolo_small_v3", 3
PICTURES, BATCH = 64, 8
SIZE = (240, 320)
OBJECTS = 13.4  # in a picture, as in BCCD
SURE = 300  # pairs of a box and a class in a picture above the threshold, as a trained network has above .005


def bench_detect(rounds: int = 5, network: str = NETWORK) -> dict[str, Any]:
    """Images per second of processor time on one thread: the best of ``rounds``, the engines in turns.

    concord: a member as a run has it, with everything that ``Ensemble.fit`` does between updates; in
    prediction with decoding and suppression. plain: a loop over the same network in torch's memory layout,
    the loss of YOLO v3 written with loops over images and objects, suppression image by image. plain_loop:
    the plain loop with concord's loss. channels_last: the same with the network in concord's memory layout.
    """
    torch.manual_seed(0)
    interface = VisionInterface("detect", 3, tuple(map(str, range(CLASSES))), NORMALISE, canvas=SIZE)
    plain, x, y = build(network, channels=3, classes=CLASSES), *made(PICTURES)
    head = head_with(plain, SIZE)
    assert isinstance(head, YoloV3)
    member = vision.member(network, interface)
    member.load_state_dict(plain.state_dict())
    laid = deepcopy(plain).to(memory_format=torch.channels_last)
    rows = _predict(head, member, plain, laid, x[:BATCH], rounds)
    rows = _train(head, member, plain, laid, (x, y), rounds) + rows
    return {
        "network": network,
        "size": list(SIZE),
        "batch": BATCH,
        "torch": torch.__version__,
        "threads": 1,
        "rounds": rounds,
        "rows": rows,
    }


def made(count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Noise, and boxes of 20 to 80 pixels anywhere in it."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.poisson(torch.full((count,), OBJECTS), generator=generator).clamp(min=1)
    rows = torch.arange(int(numbers.max())) < numbers[:, None]  # (B, T)
    sides = 20 + 60 * torch.rand(*rows.shape, 2, generator=generator)
    corner = torch.rand(*rows.shape, 2, generator=generator) * (torch.tensor(SIZE[::-1]) - sides)
    labels = torch.randint(0, CLASSES, rows.shape, generator=generator)
    none = torch.zeros_like(rows)
    return torch.rand(count, 3, *SIZE, generator=generator), {
        "boxes": torch.cat([corner, corner + sides], -1) * rows[..., None],
        "labels": torch.where(rows, labels, -1),
        "crowd": none,
        "difficult": none,
    }


def _train(
    head: YoloV3,
    member: nn.Module,
    plain: nn.Module,
    laid: nn.Module,
    data: tuple[Tensor, dict[str, Tensor]],
    rounds: int,
) -> list[dict[str, Any]]:
    task = Detect(head)

    def batches() -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        for index in vision.shuffled(PICTURES, BATCH):
            yield data[0][index], {key: value[index] for key, value in data[1].items()}

    def own(output: Any, target: Any) -> Tensor:
        return task.loss(output, target).mean()

    def loops(output: Any, target: Any) -> Tensor:
        return plain_yolo.loss(head, output, target)

    engines = {
        "concord": vision.training(member, data, task, BATCH),
        "plain": vision.plain_training(plain, batches(), loops),
        "plain_loop": vision.plain_training(deepcopy(plain), batches(), own),
        "channels_last": vision.plain_training(laid, batches(), own),
    }
    return vision.in_turns("train", engines, BATCH, rounds)


def _predict(
    head: YoloV3, member: nn.Module, plain: nn.Module, laid: nn.Module, x: Tensor, rounds: int
) -> list[dict[str, Any]]:
    with torch.no_grad():
        scores = head.decode(plain.eval()(x)).scores.flatten()
    task = Detect(head, threshold=float(scores.topk(SURE * len(x)).values[-1]))

    def ours() -> object:
        return task.detections(outputs({vision.ONE: member}, x)[0])

    def theirs(net: nn.Module) -> vision.Call:
        @torch.no_grad()
        def predict() -> object:
            return plain_yolo.detections(head, net.eval()(x), task.threshold)

        return predict

    engines = {"concord": ours, "plain": theirs(plain), "channels_last": theirs(laid)}
    return vision.in_turns("predict", engines, len(x), rounds)
