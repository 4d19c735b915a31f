"""From a configuration to a training that can start: the one place where data, zoo and training meet."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from concord.cost.count import count
from concord.cost.record import Cost
from concord.cost.smallest import takes
from concord.data import memory
from concord.data.images.pictures import Watch
from concord.data.load import Accept, load
from concord.data.normalise import Normalise
from concord.data.splits import Splits
from concord.errors import ConcordError, DataError, MissingDataError, UsageError, interrupts
from concord.files.paths import expanded
from concord.runs.building import bounded_by, import_own, started
from concord.runs.config import REST, Config, Member
from concord.runs.interface import Interface
from concord.training.checkpoint import Checkpoint
from concord.training.dense import refuse_output, refuse_tensors
from concord.training.devices import forward, home_of
from concord.training.evaluate import evaluating, output_of
from concord.training.foreign import out_of_memory
from concord.zoo import registry
from concord.zoo.build import UnknownNetwork, build
from concord.zoo.foreign import as_pretrained
from concord.zoo.weights import load_weights

USUAL_SIDES = (28, 32, 64, 96, 128, 224, 256, 299)


def load_data(config: Config, watch: Watch | None = None, accept: Accept | None = None) -> Splits:
    """The splits that the configuration describes; ``accept`` is as in ``data.load``."""
    rest = config.unlabelled is not None and config.unlabelled.source == REST
    return load(**config.data.of_pictures(), rest=rest, watch=watch, accept=accept)


def load_again(config: Config, option: str, watch: Watch | None = None) -> Splits:
    """The splits of a run that was begun earlier, and perhaps elsewhere: ``option`` tells where they are."""
    try:
        return load_data(config, watch)
    except MissingDataError as error:
        absolute = expanded(config.data.source).is_absolute()
        begun = "" if absolute else " That path is relative to the folder in which the run was started."
        raise DataError(
            f"{error}\nThe run was trained on these data.{begun} If they have moved, give the new path"
            f" with {option}"
        ) from None


def load_and_build(
    config: Config, allow_code: Collection[str], watch: Watch | None = None
) -> tuple[Splits, dict[str, nn.Module]]:
    """The splits and new members, which are built before images are decoded: that may take long.

    So a network that cannot take the images is refused as soon as their headers are read.
    """
    built: dict[str, nn.Module] = {}

    def build_for(shape: tuple[int, int, int], classes: tuple[str, ...]) -> None:
        plain = Normalise((0.0,) * shape[0], (1.0,) * shape[0])  # members are built without it
        built.update(build_members(config, Interface(shape, classes, plain), allow_code))

    splits = load_data(config, watch, build_for)
    return splits, built or build_members(config, Interface.of(splits), allow_code)


def build_members(
    config: Config,
    interface: Interface,
    allow_code: Collection[str],
    *,
    saved: Checkpoint | None = None,
) -> dict[str, nn.Module]:
    """New members; the start of each depends on the seed and its own name, not on who stands beside it.

    ``saved`` is the checkpoint that will fill them: nothing is fetched for those with pretrained weights, and
    a network that becomes much larger than its tensors there is a CheckpointError before it is built.
    """
    members = {}
    import_own(config, allow_code)
    for member in config.members:
        with started(config, member):
            with bounded_by(member, saved):
                network = _built(member, interface, member.pretrained is True and not saved, allow_code)
            file = member.pretrained if isinstance(member.pretrained, str) else None
            if file is not None and not saved:
                load_weights(network, expanded(file))
            if member.pretrained and (saved or file is not None):
                as_pretrained(network, interface.shape[0])
            _check_output(member.name, network, interface)  # lazy layers start here, from the same seed
        refuse_tensors(member.name, network)
        if member.teacher is not None or member.retired:
            network.requires_grad_(False)  # else what the factory froze stays frozen, and nothing more
        # channels_last is what the convolutions of oneDNN and cuDNN run fastest on
        home = member.device or config.train.device
        members[member.name] = network.to(home).to(memory_format=torch.channels_last)
    return members


def _built(member: Member, interface: Interface, pretrained: bool, allow_code: Collection[str]) -> nn.Module:
    """The network of a member; UsageError that says so if name and network were exchanged."""
    try:
        return build(
            member.network,
            channels=interface.shape[0],
            classes=len(interface.classes),
            pretrained=pretrained,
            allow_code=allow_code,
        )
    except UnknownNetwork as error:
        if member.name not in registry.names():
            raise
        raise UsageError(
            f"no network is named {member.network!r}, but {member.name!r} is one: members are NAME=NETWORK,"
            f" so write {member.network}={member.name}"
        ) from error


def _check_output(name: str, network: nn.Module, interface: Interface) -> None:
    """Two samples through the member: a wrong network is refused before anything is trained."""
    expected = (2, len(interface.classes))
    try:
        output = output_of(network, torch.zeros(2, *interface.shape))
        refuse_output(name, output)
    except ConcordError as error:
        reason = str(error).removeprefix(f"member {name!r}: ")
        raise UsageError(f"member {name}: {reason}{_other_side(network, interface.shape)}") from error
    except BaseException as error:  # a foreign network may raise anything
        if interrupts(error) or out_of_memory(error):
            raise
        shape = "x".join(map(str, interface.shape))
        cure = _other_side(network, interface.shape)
        raise UsageError(f"member {name} cannot take images of {shape}: {error}{cure}") from error
    given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if given != expected:
        raise UsageError(
            f"member {name} must give logits of shape {expected} for 2 samples, it gives {given}"
        )


def _other_side(network: nn.Module, shape: tuple[int, int, int]) -> str:
    """The way out for a network that takes square pictures of another usual side: the nearest of these."""
    channels, *sides = shape
    for side in sorted(USUAL_SIDES, key=lambda side: abs(side - max(sides))):
        if takes(network, (channels, side, side)):
            return f"; --set data.size={side} makes all images {side}x{side}, which it takes"
    return ""


def check_memory(
    config: Config, members: Mapping[str, nn.Module], shape: tuple[int, int, int], images: int
) -> None:
    """ResourceError if what one update needs beyond the weights cannot fit into free memory.

    That is what the backward pass keeps of a batch, and for each parameter its gradient and what the
    optimiser remembers. Members on another device than the CPU need none of it.
    """
    members = {name: m for name, m in members.items() if home_of(m, torch.zeros(())).type == "cpu"}
    if not members:
        return
    batch = min(config.train.batch_size, config.train.micro_batch or images, images)
    batch += config.unlabelled.batch_size if config.unlabelled else 0
    passes = 1 if config.adversarial is None else 2
    learned = sum(
        p.numel() * p.element_size() for m in members.values() for p in m.parameters() if p.requires_grad
    )
    remembered = 1 if config.train.optimizer.kind == "sgd" else 2
    remembered += 2 if config.train.ema else 0  # the average, and the raw weights while members are averages
    memory.require(
        _kept(members, shape) * batch * passes + learned * (1 + remembered),
        f"one pass over {batch} images",
        "train.micro_batch, a smaller train.batch_size or data.size helps",
    )


def _kept(members: Mapping[str, nn.Module], shape: tuple[int, int, int]) -> int:
    """Bytes that the backward pass keeps of one image, measured on two."""
    kept = 0
    everyone = members.values()
    own = {t.untyped_storage().data_ptr() for m in everyone for t in (*m.parameters(), *m.buffers())}

    def note(tensor: Tensor) -> Tensor:
        nonlocal kept
        if tensor.untyped_storage().data_ptr() not in own:  # weights are there once, whatever the batch
            kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), torch.random.fork_rng([]):
        for member in everyone:
            with evaluating({"": member}):
                forward(member, torch.zeros(2, *shape), torch.float32)
    return kept // 2


def costs(members: Mapping[str, nn.Module], shape: tuple[int, int, int]) -> dict[str, Cost]:
    """Parameters and multiply-accumulates of every member."""
    return {name: count(member, shape) for name, member in members.items()}
