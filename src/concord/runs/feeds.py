"""Batches for training and evaluation, each a pure function of (seed, epoch, step)."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from concord.data.batches import indices, ranges, steps_per_epoch
from concord.data.dataset import Draw, Tree
from concord.data.images.augment import Augment
from concord.data.images.images import Images
from concord.data.images.mix import Mix
from concord.data.images.stores import Store
from concord.data.images.unlabelled import unlabelled
from concord.data.loader import Loader, Wanted
from concord.data.splits import Splits
from concord.errors import UsageError
from concord.runs.config import REST, Config
from concord.runs.config_data import ELSEWHERE
from concord.runs.interface import Interface
from concord.runs.plan import looks_at_validation
from concord.training.batch import Batch
from concord.training.job import Feed
from concord.training.seeding import mix as mixed
from concord.training.seeding import purpose_seed


def make_feed(config: Config, splits: Splits, interface: Interface) -> Feed:
    """Batches for training and evaluation, on the configured device and in channels_last layout."""
    looking = looks_at_validation(config)
    if looking and not len(splits.valid):
        raise UsageError(
            f"{looking} looks at the validation split, which is empty: set data.valid, for example to 0.1"
        )
    augment = _augment(config)
    parts = _placed(splits, config.train.device, augment)
    device = config.train.device
    early = device == "cpu"  # workers normalise too; a GPU does it faster than pixels of four bytes get there
    loader = Loader(parts, splits.workers, finish=interface.normalise.tree if early else None)

    def ready(inputs: Tree, labels: Tree) -> tuple[Tensor, Tensor]:
        """A batch on the device, normalised."""
        assert isinstance(inputs, Tensor)
        assert isinstance(labels, Tensor)
        x, y = (part.to(device, non_blocking=True) for part in (inputs, labels))
        return (x if early else interface.normalise(x)), y

    def held(name: str) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
        def samples() -> Iterator[tuple[Tensor, Tensor]]:
            wanted = [Wanted(name, index) for index in ranges(len(parts[name]))]
            pairs = (ready(*made) for made in loader.batches(wanted))
            return ((_laid(x), y) for x, y in pairs)

        return samples

    return Feed(
        steps=steps_per_epoch(len(splits.train), config.train.batch_size),
        train=_training_batches(config, splits, interface, loader, ready),
        valid=held("valid"),
        test=held("test"),
        has_valid=len(splits.valid) > 0,
        fingerprint=splits.fingerprint,
        notices=splits.notices,
    )


def _augment(config: Config) -> Augment | None:
    settings = config.augment.model_dump(exclude={"mixup", "cutmix", *ELSEWHERE})
    changes = any(value not in (None, 0) for value in settings.values())
    return Augment(**settings) if changes else None


def _placed(splits: Splits, device: str, augment: Augment | None) -> dict[str, Images]:
    """The parts, with pixels on the device where batches can be made there; a store goes there once."""
    parts = {name: getattr(splits, name) for name in ("train", "valid", "test")}
    parts["train"] = replace(parts["train"], augment=augment)
    if splits.workers or (augment is not None and augment.by_sample):
        return parts
    there: dict[int, Store] = {}
    for images in parts.values():
        if id(images.store) not in there:
            there[id(images.store)] = images.to(device).store
    return {
        name: replace(images, store=there[id(images.store)], labels=images.labels.to(device))
        for name, images in parts.items()
    }


def _laid(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _training_batches(
    config: Config,
    splits: Splits,
    interface: Interface,
    loader: Loader,
    ready: Callable[[Tree, Tree], tuple[Tensor, Tensor]],
) -> Callable[[int, int], Iterator[Batch]]:
    train, names = config.train, [m.name for m in config.members]
    mix = _mix(config, interface)
    extra = _extra_batches(config, splits, interface)
    shared = purpose_seed(train.seed, "order")
    orders = [purpose_seed(train.seed, "order", n) if train.batches == "own" else shared for n in names]
    changes = [shared if train.batches == "shared" else purpose_seed(train.seed, "changes", n) for n in names]
    ways = sorted(set(zip(orders, changes, strict=True)), key=list(zip(orders, changes, strict=True)).index)

    def indices_of(order: int, epoch: int, start: int) -> list[Tensor]:
        return indices(
            len(splits.train),
            batch_size=train.batch_size,
            seed=order,
            epoch=epoch,
            start=start,
            shuffle=train.shuffle,
        )

    def batches(epoch: int, start: int) -> Iterator[Batch]:
        each = [indices_of(order, epoch, start) for order, _ in ways]
        wanted = [
            Wanted("train", index, Draw(change, epoch))
            for step in zip(*each, strict=True)
            for index, (_, change) in zip(step, ways, strict=True)
        ]
        made = loader.batches(wanted)
        for number, step in enumerate(zip(*each, strict=True)):
            parts = [ready(*next(made)) for _ in ways]
            if mix is not None:  # views are mixed alike, so that members still see the same samples
                parts = [
                    mix(x, y, int(index[0]), seed=order, epoch=epoch)
                    for (x, y), index, (order, _) in zip(parts, step, ways, strict=True)
                ]
            inputs, targets = zip(*parts, strict=True)
            if train.batches == "views":  # the same samples for all: one tensor of labels says so
                targets = targets[:1] * len(inputs)
            aligned = train.batches != "own"
            yield Batch(tuple(map(_laid, inputs)), targets, aligned, extra(epoch, start + number))

    return batches


def _mix(config: Config, interface: Interface) -> Mix | None:
    settings = config.augment
    if not (settings.mixup or settings.cutmix):
        return None
    return Mix(len(interface.classes), settings.mixup, settings.cutmix)


def _extra_batches(
    config: Config, splits: Splits, interface: Interface
) -> Callable[[int, int], Tensor | None]:
    """Unlabelled images of an update, drawn with replacement; a pure function of (seed, epoch, step)."""
    if config.unlabelled is None:
        return lambda epoch, step: None
    settings, device = config.unlabelled, config.train.device
    seed = purpose_seed(config.train.seed, "unlabelled")
    pixels = _unlabelled(settings.source, splits, seed).to(device)

    def draw(epoch: int, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(mixed(mixed(seed, epoch), step))
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
