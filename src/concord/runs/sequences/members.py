"""Members of a run on sequences, built for its symbols or numbers and its classes."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from concord.data.dataset import Tree
from concord.errors import ConcordError, UsageError, interrupts
from concord.files.paths import expanded
from concord.layers.recurrent.carried import Carried
from concord.layers.recurrent.heads import OneHot
from concord.runs.building import bounded_by, import_own, started
from concord.runs.config import Config, Member
from concord.runs.sequences.interface import SequenceInterface
from concord.runs.sequences.settings import LANGUAGE, PAIRS
from concord.training.checkpoint import Checkpoint
from concord.training.dense import refuse_output, refuse_tensors
from concord.training.evaluate import output_of
from concord.training.foreign import out_of_memory
from concord.zoo import registry
from concord.zoo.build import build
from concord.zoo.weights import load_weights

TRIED = 6  # steps
SHAPES = {"sequence": "(B, K), one answer for each sequence", "language": "(B, T, K), one for each step"}


def build_members(
    config: Config,
    interface: SequenceInterface,
    allow_code: Collection[str],
    *,
    saved: Checkpoint | None = None,
) -> dict[str, nn.Module]:
    """New members; the start of each depends on the seed and its own name, not on who stands beside it.

    ``saved`` is the checkpoint that will fill them. A network of the zoo that takes numbers reads symbols as
    one-hot columns. UsageError for one whose outputs are of another task.
    """
    members = {}
    import_own(config, allow_code)
    for member in config.members:
        with started(config, member):
            with bounded_by(member, saved):
                network = _built(member, interface, allow_code, config.train.carry)
            if isinstance(member.pretrained, str) and not saved:
                load_weights(network, expanded(member.pretrained))
            _check_output(member, network, interface)  # lazy layers start here, from the same seed
            if interface.task == LANGUAGE and not saved:
                _refuse_ahead(member, network, interface)
        refuse_tensors(member.name, network)
        if member.retired:
            network.requires_grad_(False)
        members[member.name] = network.to(member.device or config.train.device)
    return members


def _built(
    member: Member, interface: SequenceInterface, allow_code: Collection[str], carry: bool
) -> nn.Module:
    if member.pretrained is True:
        raise UsageError(f"member {member.name}: its library has no pretrained weights for sequences")
    network = build(
        member.network, channels=interface.inputs, classes=interface.outputs, allow_code=allow_code
    )
    plain = member.network.partition("(")[0]
    numbers = plain in registry.names() and registry.find(plain).text is None
    network = OneHot(interface.inputs, network) if numbers and not interface.features else network
    if not carry:
        return network
    try:
        return Carried(network)
    except UsageError as error:
        raise UsageError(f"member {member.name}: {error}, or set train.carry=false") from None


def example(interface: SequenceInterface, batch: int = 2, steps: int = TRIED) -> tuple[Tensor, ...]:
    """Random inputs of that many steps, the same every time, as members are called with them."""
    generator = torch.Generator().manual_seed(steps)
    if interface.features:
        x = torch.randn(batch, steps, interface.features, generator=generator)
    else:
        x = torch.randint(interface.inputs, (batch, steps), generator=generator)
    if not interface.lengths:
        return (x,)
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
    lengths[0] = steps
    return x, lengths


def _check_output(member: Member, network: nn.Module, interface: SequenceInterface) -> None:
    """Two samples through the member: a wrong network is refused before anything is trained."""
    inputs = example(interface)
    expected = (2, interface.outputs) if interface.task == "sequence" else (2, TRIED, interface.outputs)
    fitting = (
        f"; the zoo has, among others, {' and '.join(PAIRS[interface.task])} for the task {interface.task}"
    )
    try:
        output: Tree = output_of(network, inputs if len(inputs) > 1 else inputs[0])
        refuse_output(member.name, output)
    except ConcordError as error:
        reason = str(error).removeprefix(f"member {member.name!r}: ")
        raise UsageError(f"member {member.name}: {reason}{fitting}") from error
    except BaseException as error:  # a foreign network may raise anything
        if interrupts(error) or out_of_memory(error):
            raise
        kind = f"{interface.features} numbers" if interface.features else "symbols"
        called = f"{kind}, called with {'(x, lengths)' if len(inputs) > 1 else '(x)'}"
        raise UsageError(
            f"member {member.name} cannot take sequences of {called}: {error}{fitting}"
        ) from error
    given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if given != expected:
        shape = SHAPES.get(interface.task, SHAPES["language"])
        raise UsageError(
            f"member {member.name} must give logits {shape}, here {expected}; it gives {given}{fitting}"
        )


def _refuse_ahead(member: Member, network: nn.Module, interface: SequenceInterface) -> None:
    """UsageError for a member whose logits before the last character change with it."""
    x, *lengths = example(interface)
    other = torch.cat([x[:, :-1], (x[:, -1:] + 1) % interface.inputs], 1)
    first, again, changed = (_logits(network, given, *lengths)[:, :-1] for given in (x, x, other))
    if torch.allclose(first, again, atol=1e-5) and not torch.allclose(first, changed, atol=1e-5):
        raise UsageError(
            f"member {member.name} reads ahead: its logits depend on later characters, which it is to"
            f" predict; take one that reads in one direction, such as {' or '.join(PAIRS[LANGUAGE])}"
        )


def _logits(network: nn.Module, *inputs: Tensor) -> Tensor:
    output = output_of(network, inputs if len(inputs) > 1 else inputs[0])
    assert isinstance(output, Tensor)  # see ``_check_output``
    return output
