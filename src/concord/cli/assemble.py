"""From a configuration to a training that can start: the one place where data, zoo and training meet."""

import hashlib
import os
import platform
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from concord.cli.precision import native_bfloat16
from concord.cost.count import Cost, count
from concord.data.augment import Augment
from concord.data.batches import Normalise, in_order, shuffled, steps_per_epoch
from concord.data.load import load
from concord.data.splits import Splits
from concord.data.unlabelled import unlabelled
from concord.errors import ConcordError, ResourceError, UsageError
from concord.tasks.classify import Classify
from concord.training.agreement import Batch, mix
from concord.training.config import Config
from concord.training.fit import Feed, Job
from concord.training.folder import RunFolder
from concord.zoo.build import build

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Interface:
    """What goes into the members of a run and what comes out: (C, H, W) pixels of 0..255, class names."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    normalise: Normalise

    @classmethod
    def of(cls, splits: Splits) -> "Interface":
        c, h, w = splits.train.pixels.shape[1:]
        return cls((c, h, w), splits.train.classes, Normalise.of(splits.train))

    def plain(self) -> dict[str, Any]:
        return {"shape": self.shape, "classes": self.classes, **asdict(self.normalise)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Interface":
        c, h, w = plain["shape"]
        normalise = Normalise(tuple(plain["mean"]), tuple(plain["std"]))
        return cls((c, h, w), tuple(plain["classes"]), normalise)


def load_data(config: Config) -> Splits:
    """The splits that the configuration describes."""
    return load(**config.data.model_dump())


def resolved(config: Config) -> Config:
    """The configuration with every "auto" decided for this machine, so that a resume does not decide anew."""
    train = config.train
    device = train.device if train.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"train.device is {device!r}, but torch sees no GPU here; use cpu or auto")
    precision = train.precision
    if precision == "auto":
        precision = "bfloat16" if native_bfloat16(device) else "float32"
    threads = train.threads or torch.get_num_threads()
    update = {"device": device, "precision": precision, "threads": threads}
    return config.model_copy(update={"train": train.model_copy(update=update)})


def settle(config: Config) -> None:
    """Threads and determinism as the configuration says, for this process."""
    torch.set_num_threads(config.train.threads or torch.get_num_threads())
    if config.train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # or every torch.empty would be filled with NaN first
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False


def seed_of(*parts: object) -> int:
    """A 63-bit seed for a purpose, for example seed_of(0, "start", "st")."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def build_members(config: Config, interface: Interface, allow_code: Collection[str]) -> dict[str, nn.Module]:
    """New members; the start of each depends on the seed and its own name, not on who stands beside it."""
    members = {}
    for member in config.members:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(config.train.seed, "start", member.name))
            network = build(
                member.network,
                channels=interface.shape[0],
                classes=len(interface.classes),
                pretrained=member.pretrained,
                allow_code=allow_code,
            )
        _check_output(member.name, network, interface)
        # channels_last is what the convolutions of oneDNN and cuDNN run fastest on
        members[member.name] = network.to(config.train.device).to(memory_format=torch.channels_last)
    return members


def _check_output(name: str, network: nn.Module, interface: Interface) -> None:
    """Two samples through the member, so that a wrong network is told apart before anything is trained."""
    expected = (2, len(interface.classes))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = network.eval()(torch.zeros(2, *interface.shape))
    except ConcordError as error:
        raise UsageError(f"member {name}: {error}") from error
    except Exception as error:  # a foreign network may raise anything
        shape = "x".join(map(str, interface.shape))
        raise UsageError(f"member {name} cannot take images of {shape}: {error}") from error
    given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if given != expected:
        raise UsageError(
            f"member {name} must give logits of shape {expected} for 2 samples, it gives {given}"
        )


def check_memory(members: Mapping[str, nn.Module], shape: tuple[int, int, int], batch_size: int) -> None:
    """ResourceError if what one update keeps for the backward pass cannot fit into free memory (CPU only)."""
    kept = 0

    def note(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), torch.random.fork_rng([]):
        for member in members.values():
            member.eval()(torch.zeros(2, *shape))
    need, free = kept / 2 * batch_size, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if need > free:
        raise ResourceError(
            f"one update of {batch_size} images needs about {need / 2**30:.1f} GiB and"
            f" {free / 2**30:.1f} GiB are free; a smaller train.batch_size or data.size helps"
        )


def costs(members: Mapping[str, nn.Module], shape: tuple[int, int, int]) -> dict[str, Cost]:
    """Parameters and multiply-accumulates of every member."""
    return {name: count(member, shape) for name, member in members.items()}


def result_figures(
    test: Mapping[str, Any], valid: Mapping[str, Any] | None, spent: Mapping[str, Cost]
) -> dict[str, Any]:
    """The part of a result that ``train`` and ``eval`` share, under the keys that design.md promises."""

    def figures(scores: Mapping[str, float], other: Mapping[str, float] | None) -> dict[str, Any]:
        valid_error = other["error"] if other else None
        return {
            "test_error": scores["error"],
            "valid_error": valid_error,
            "nll": scores["nll"],
            "ece": scores["ece"],
        }

    members = {
        name: figures(scores, valid["members"][name] if valid else None)
        | {"parameters": spent[name].parameters, "macs": spent[name].macs}
        for name, scores in test["members"].items()
    }
    return {
        "members": members,
        "ensemble": figures(test["ensemble"], valid["ensemble"] if valid else None)
        | {"probabilities": test["ensemble_probabilities"]},
        "agreement": test["agreement"],
        "disagreement": test["disagreement"],
    }


def make_feed(config: Config, splits: Splits, interface: Interface) -> Feed:
    """Batches for training and evaluation, on the configured device and in channels_last layout."""
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
    pixels = unlabelled(settings.source, splits.train, seed).to(device)

    def draw(epoch: int, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(mix(mix(seed, epoch), step))
        index = torch.randint(len(pixels), (settings.batch_size,), generator=generator)
        return _laid(interface.normalise(pixels[index.to(device)]))

    return draw


def make_job(
    folder: RunFolder,
    config: Config,
    splits: Splits,
    members: dict[str, nn.Module],
    interface: Interface,
    stop: Callable[[], bool],
    warn: Callable[[str], None],
) -> Job:
    """Everything together."""
    return Job(
        folder=folder,
        config=config,
        members=members,
        seeds=tuple(seed_of(config.train.seed, "dropout", name) for name in members),
        feed=make_feed(config, splits, interface),
        task=Classify(len(interface.classes), config.train.label_smoothing),
        precision=PRECISIONS[config.train.precision],
        stop=stop,
        warn=warn,
    )


def stamp(config: Config) -> dict[str, Any]:
    """What made this run, for whoever wants to make it again."""
    packages = ("concord", "torch", "torchvision", "numpy", "pillow", "safetensors")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "platform": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if config.train.device.startswith("cuda") else "cpu",
        "threads": config.train.threads,
        "deterministic": config.train.deterministic,
        "seed": config.train.seed,
    }
