"""Runs that find boxes: their data, their task, and training at several sizes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from concord.data.detection.anchors import anchors
from concord.data.detection.augment import BoxAugment
from concord.data.detection.boxed import BoxedImages
from concord.data.detection.load import SIDE, Wanted, load, require_scorable
from concord.data.detection.place import MULTIPLE
from concord.data.detection.read import sides
from concord.data.detection.scales import rescaled, side_of
from concord.errors import DataError, UsageError
from concord.runs import given
from concord.runs.config import Config
from concord.runs.config_vision import Detect as Settings
from concord.runs.vision.heads import one_head
from concord.runs.vision.interface import VisionInterface
from concord.runs.vision.members import canvas_of, with_anchors
from concord.runs.vision.settings import CHANGES, DETECT
from concord.tasks.detect import Detect
from concord.training.batch import Batch
from concord.training.job import Feed
from concord.training.seeding import purpose_seed

LEAST, MOST = 0.75, 1.5  # of the size, between which sizes are drawn; 320 to 608 of 416 in the paper


def settings_of(config: Config) -> Settings:
    """The table ``detect``."""
    return config.detect or Settings()


def load_parts(config: Config, known: VisionInterface | None = None) -> given.Parts:
    """The parts of the data; ``known`` is the interface of an earlier training. Raises DataError."""
    data = config.data
    wanted = Wanted(
        data.source,
        data.size or SIDE,
        *data.shares,
        data.seed,
        data.limit,
        classes=None if known is None else known.classes,
        canvas=None if known is None else known.canvas,
        largest_image=data.largest_image,
    )
    found = load(wanted)
    require_scorable(found, data.source)
    changes: dict[str, Any] = {name: getattr(config.augment, name) or 0 for name in CHANGES[DETECT]}
    train = replace(found.train, augment=BoxAugment(**changes))
    return given.Parts(train, found.valid, found.test, found.notices, data.workers or 0)


def interface_of_parts(parts: given.Parts) -> VisionInterface:
    """Three channels on one canvas; anchors come with the members."""
    train = parts.train
    assert isinstance(train, BoxedImages)
    assert train.spec.normalise is not None
    return VisionInterface("detect", 3, train.classes, train.spec.normalise, canvas=train.canvas)


def anchored(
    config: Config, parts: given.Parts, interface: VisionInterface, members: Mapping[str, nn.Module]
) -> VisionInterface:
    """The interface with as many anchors as the members have, found in the training boxes, and members with
    them; unless the settings leave the networks their own, or they have none."""
    counts = {name: sum(map(len, getattr(net, "anchors", ()))) for name, net in members.items()}
    if settings_of(config).anchors != "data" or not any(counts.values()):
        return interface
    if len({*counts.values()}) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UsageError(f"members of a run have the same number of anchors, got {listed}")
    assert isinstance(parts.train, BoxedImages)
    count = next(iter(counts.values()))
    boxes = sides(parts.train.samples, max(parts.train.canvas))
    try:
        found = anchors(boxes, count, seed=config.train.seed).sides
    except DataError as error:
        raise DataError(
            f"{error}: use members with fewer anchors, or detect.anchors=network, which leaves them their own"
        ) from None
    for network in members.values():
        with_anchors(network, found)
    return replace(interface, anchors=found)


def task_of(config: Config, interface: VisionInterface, members: Mapping[str, nn.Module]) -> Detect:
    """What an output means; UsageError unless all members have one head."""
    settings = settings_of(config)
    return Detect(one_head(members, canvas_of(interface), settings), names=interface.classes)


def at_scales(config: Config, interface: VisionInterface, feed: Feed) -> Feed:
    """The feed, with batches for training at another size every 10 batches where that is asked for."""
    if not settings_of(config).scales:
        return feed
    assert interface.canvas is not None
    longest, seed = max(interface.canvas), purpose_seed(config.train.seed, "scales")
    least, most = (round(share * longest / MULTIPLE) * MULTIPLE for share in (LEAST, MOST))
    sides = range(max(MULTIPLE, least), most + 1, MULTIPLE)

    def train(epoch: int, start: int) -> Iterator[Batch]:
        for step, batch in enumerate(feed.train(epoch, start), start):
            side = side_of(seed, epoch, step, sides)
            pairs: list[Any] = [
                rescaled(x, y, side) for x, y in zip(batch.inputs, batch.targets, strict=True)
            ]
            inputs, targets = zip(*pairs, strict=True)
            yield batch._replace(inputs=inputs, targets=targets)

    return replace(feed, train=train)
