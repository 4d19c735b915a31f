"""Batches for training and evaluation, each a pure function of (seed, epoch, step)."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from concord.data.batches import in_order, shuffled, steps_per_epoch
from concord.data.images.augment import Augment
from concord.data.images.unlabelled import unlabelled
from concord.data.splits import Splits
from concord.errors import UsageError
from concord.runs.config import REST, Config
from concord.runs.interface import Interface
from concord.training.batch import Batch
from concord.training.job import Feed
from concord.training.seeding import mix


def seed_of(*parts: object) -> int:
    """A 63-bit seed for a purpose, for example seed_of(0, "start", "st")."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def make_feed(config: Config, splits: Splits, interface: Interface) -> Feed:
    """Batches for training and evaluation, on the configured device and in channels_last layout."""
    _need_validation(config, splits)
    device = config.train.device
    here = {name: getattr(splits, name).to(device) for name in ("train", "valid", "test")}

    def held(name: str) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
        return lambda: ((_laid(x), y) for x, y in in_order(here[name], interface.normalise))

    return Feed(
        steps=steps_per_epoch(len(splits.train), config.train.batch_size),
        train=_training_batches(config, splits, here["train"], interface),
        valid=held("valid"),
        test=held("test"),
        has_valid=len(splits.valid) > 0,
        fingerprint=splits.fingerprint,
        notices=splits.notices,
    )


def _need_validation(config: Config, splits: Splits) -> None:
    """UsageError if a setting looks at validation scores and there are none."""
    looks = {
        "train.patience": config.train.patience is not None,
        "consensus.cost kdcl_general": config.consensus.cost == "kdcl_general",
        "consensus.edges disagreement_matching": config.consensus.edges == "disagreement_matching",
    }
    named = [setting for setting, looking in looks.items() if looking]
    if named and not len(splits.valid):
        raise UsageError(
            f"{named[0]} looks at the validation split, which is empty: give data.valid, 0.1 say"
        )


def _laid(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _training_batches(
    config: Config, splits: Splits, images: Any, interface: Interface
) -> Callable[[int, int], Iterator[Batch]]:
    train, names = config.train, [m.name for m in config.members]
    augment = Augment(**config.augment.model_dump()) if any(config.augment.model_dump().values()) else None
    extra = _extra_batches(config, splits, interface)

    def stream(epoch: int, start: int, order: int, changes: int) -> Iterator[tuple[Tensor, Tensor]]:
        return shuffled(
            images,
            interface.normalise,
            batch_size=train.batch_size,
            seed=order,
            augment_seed=changes,
            epoch=epoch,
            start=start,
            augment=augment,
            shuffle=train.shuffle,
        )

    shared = seed_of(train.seed, "order")
    orders = [seed_of(train.seed, "order", n) if train.batches == "own" else shared for n in names]
    changes = [shared if train.batches == "shared" else seed_of(train.seed, "changes", n) for n in names]
    ways = sorted(set(zip(orders, changes, strict=True)), key=list(zip(orders, changes, strict=True)).index)

    def batches(epoch: int, start: int) -> Iterator[Batch]:
        streams = [stream(epoch, start, order, change) for order, change in ways]
        for step, parts in enumerate(zip(*streams, strict=True), start):
            inputs, targets = zip(*parts, strict=True)
            if train.batches == "views":  # the same samples for all: one tensor of labels says so
                targets = targets[:1] * len(inputs)
            yield Batch(tuple(map(_laid, inputs)), targets, train.batches != "own", extra(epoch, step))

    return batches


def _extra_batches(
    config: Config, splits: Splits, interface: Interface
) -> Callable[[int, int], Tensor | None]:
    """Unlabelled images of an update, drawn with replacement; a pure function of (seed, epoch, step)."""
    if config.unlabelled is None:
        return lambda epoch, step: None
    settings, device = config.unlabelled, config.train.device
    seed = seed_of(config.train.seed, "unlabelled")
    pixels = _unlabelled(settings.source, splits, seed).to(device)

    def draw(epoch: int, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(mix(mix(seed, epoch), step))
        index = torch.randint(len(pixels), (settings.batch_size,), generator=generator)
        return _laid(interface.normalise(pixels[index.to(device, non_blocking=True)]))

    return draw


def _unlabelled(source: str, splits: Splits, seed: int) -> Tensor:
    if source != REST:
        return unlabelled(source, splits.train, seed)
    if splits.rest is None:
        raise UsageError(
            'unlabelled.source = "rest" takes the training images that data.limit leaves out, and none are'
            " left out: set a smaller data.limit"
        )
    return splits.rest.pixels
