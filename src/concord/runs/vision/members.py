"""Members of a run of masks or boxes, built for its channels and classes."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from concord.data.dataset import Tree
from concord.errors import ConcordError, UsageError, interrupts
from concord.files.paths import expanded
from concord.layers.tiles import Grid, Tiled
from concord.runs.building import bounded_by, import_own, started
from concord.runs.config import Config, Member
from concord.runs.vision.heads import head_with
from concord.runs.vision.interface import VisionInterface
from concord.runs.vision.settings import DETECT, PAIRS, SEGMENT
from concord.training.checkpoint import Checkpoint
from concord.training.dense import refuse_tensors
from concord.training.evaluate import output_of
from concord.training.foreign import out_of_memory
from concord.zoo.build import build
from concord.zoo.weights import load_weights

SIDE = 64  # of the pictures that a network is tried with, where it does not say which sizes fit


def build_members(
    config: Config,
    interface: VisionInterface,
    allow_code: Collection[str],
    *,
    saved: Checkpoint | None = None,
) -> dict[str, nn.Module]:
    """New members; the start of each depends on the seed and its own name, not on who stands beside it.

    ``saved`` is the checkpoint that will fill them. UsageError for one whose outputs are of another task.
    """
    members = {}
    import_own(config, allow_code)
    for member in config.members:
        with started(config, member):
            with bounded_by(member, saved):
                network = _built(member, interface, allow_code)
            if isinstance(member.pretrained, str) and not saved:
                load_weights(network, expanded(member.pretrained))
            if interface.task == SEGMENT:
                _check_map(member, network, interface)
        refuse_tensors(member.name, network)
        if member.retired:
            network.requires_grad_(False)
        whole = Tiled(network) if isinstance(getattr(network, "grid", None), Grid) else network
        # channels_last is what the convolutions of oneDNN and cuDNN run fastest on
        home = member.device or config.train.device
        members[member.name] = whole.to(home).to(memory_format=torch.channels_last)
    _require_one_margin(members)
    return members


def _require_one_margin(members: Mapping[str, nn.Module]) -> None:
    """UsageError for members whose maps differ in size in training, where nothing is tiled."""
    margins = {name: net.grid.margin if isinstance(net, Tiled) else 0 for name, net in members.items()}
    if len({*margins.values()}) > 1:
        listed = ", ".join(f"{name} {margin}" for name, margin in margins.items())
        raise UsageError(
            f"without padding the map of a member is smaller than the picture, here by different numbers of"
            f" pixels on each side ({listed}): members of a run have the same depth, or all pad (same=1)"
        )


def _built(member: Member, interface: VisionInterface, allow_code: Collection[str]) -> nn.Module:
    if member.pretrained is True:
        raise UsageError(f"member {member.name}: its library has no pretrained weights for {interface.task}")
    classes = len(interface.classes)
    network = build(member.network, channels=interface.channels, classes=classes, allow_code=allow_code)
    if interface.task == DETECT:
        try:
            head_with(network, canvas_of(interface))
        except UsageError as error:
            raise UsageError(f"member {member.name}: {error}{_fitting(DETECT)}") from None
        with_anchors(network, interface.anchors)
    return network


def with_anchors(network: nn.Module, anchors: Sequence[tuple[float, float]]) -> None:
    """The network with these in place of its own, where it takes any; none given leaves its own."""
    replace = getattr(network, "with_anchors", None)
    if anchors and callable(replace):
        replace(anchors)


def canvas_of(interface: VisionInterface) -> tuple[int, int]:
    """Height and width of the pictures that boxes are found in."""
    assert interface.canvas is not None  # of every interface of boxes
    return interface.canvas


def example(
    interface: VisionInterface, network: nn.Module, batch: int = 2, size: tuple[int, int] = (SIDE, SIDE)
) -> Tensor:
    """Random pictures, the same every time, of the smallest size that fits and is not below this one."""
    grid = getattr(network, "grid", None)
    height, width = (grid.fitting(side) if isinstance(grid, Grid) else side for side in size)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, interface.channels, height, width, generator=generator)


def _fitting(task: str) -> str:
    return f"; the zoo has, among others, {' and '.join(PAIRS[task].values())} for the task {task}"


def _check_map(member: Member, network: nn.Module, interface: VisionInterface) -> None:
    """Two pictures through the member: a wrong network is refused before anything is trained."""
    x = example(interface, network)
    try:
        output: Tree = output_of(network, x)
    except ConcordError as error:
        raise UsageError(f"member {member.name}: {error}{_fitting(SEGMENT)}") from error
    except BaseException as error:  # a foreign network may raise anything
        if interrupts(error) or out_of_memory(error):
            raise
        raise UsageError(
            f"member {member.name} cannot take pictures of {x.shape[2]}x{x.shape[3]}: {error}"
            f"{_fitting(SEGMENT)}"
        ) from error
    given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[:2] != (2, len(interface.classes)):
        expected = f"(2, {len(interface.classes)}, H, W)"
        raise UsageError(
            f"member {member.name} must give logits {expected} for two pictures, it gives {given}"
            f"{_fitting(SEGMENT)}"
        )
