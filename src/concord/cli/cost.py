"""``concord cost``: parameters, operations, memory and receptive field of any network, exactly.

Example:
    $ concord cost resnet18 mobilenet_v2 --input 3x224x224
"""

import inspect
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concord.cli import complete
from concord.cli.cost_json import as_json
from concord.cli.options import Json, print_json
from concord.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from concord.cost.record import Cost
    from concord.report.cost_tables import Priced

SHAPE = re.compile(r"(ids:)?(\d{1,9}(?:x\d{1,9})*)", re.ASCII)
IMAGENET = 1000


@dataclass(frozen=True)
class Input:
    """One sample of one input: real numbers, or token ids."""

    shape: tuple[int, ...]
    ids: bool = False


def cost_of(
    network: str,
    inputs: Sequence[str] = (),
    *,
    classes: int | None = None,
    allow_code: Collection[str] = (),
) -> "Priced":
    """What a network costs, by name, for inputs such as ``3x224x224`` (numbers) or ``ids:24`` (token ids).

    Without inputs: those that the zoo, torchvision or timm know for it. Raises UsageError for an unknown
    name, ShapeError for inputs that the network refuses, with the smallest square picture that it takes.
    """
    from concord.report.cost_tables import Priced

    wanted = [parsed(text) for text in inputs] or usual_inputs(network)
    if ":" not in network and not wanted[0].ids and len(wanted[0].shape) != 3:
        told = "x".join(map(str, wanted[0].shape))
        raise ShapeError(f"--input {told}: {network} takes pictures, channels x height x width: 3x224x224")
    channels = wanted[0].shape[0] if len(wanted[0].shape) > 1 else 1
    named = {"channels": channels, "classes": classes or usual_classes(network), "allow_code": allow_code}
    return Priced(network, tuple(one.shape for one in wanted), counted(network, wanted, named))


def parsed(text: str) -> Input:
    """``3x32x32`` -> (3, 32, 32) of numbers; ``ids:24`` -> (24,) of token ids."""
    match = SHAPE.fullmatch(text.strip())
    if not match:
        raise UsageError(f"--input {text!r}: expected sizes such as 3x224x224, or ids:24 for 24 token ids")
    shape = tuple(map(int, match[2].split("x")))
    if 0 in shape:
        raise UsageError(f"--input {text!r}: every size must be at least 1")
    return Input(shape, match[1] is not None)


def usual_inputs(network: str) -> list[Input]:
    """Those that the network was made for."""
    from concord.zoo import foreign, registry

    if (own := own_name(network)) is None:
        return [Input(foreign.usual_input(network))]
    entry = registry.find(own)
    return [Input(entry.example), *([Input((entry.text[0],), ids=True)] if entry.text else [])]


def usual_classes(network: str) -> int:
    """The zoo's default; a thousand for the networks of libraries."""
    from concord.zoo import registry

    if (own := own_name(network)) is None:
        return IMAGENET
    return int(inspect.signature(registry.find(own).build).parameters["classes"].default)


def own_name(network: str) -> str | None:
    """Name in the zoo, without sizes in brackets; None for what the zoo does not list."""
    from concord.zoo import registry

    name = network.partition("(")[0]
    return name if name in registry.names() else None


def counted(network: str, wanted: Sequence[Input], named: dict[str, Any]) -> "Cost":
    """On the meta device; with weights and numbers if the network runs there with no picture at all."""
    from concord.cost.count import LayerError, count
    from concord.zoo.skeleton import skeleton

    tensors = [_tensor(one) for one in wanted]
    bare = skeleton(network, **named)
    try:
        return count(bare, *tensors)
    except ShapeError as error:
        cure = _cure(bare, wanted)
        if "Long" in str(error) and not any(one.ids for one in wanted):
            cure = "; token ids are written --input ids:24"
        if isinstance(error, LayerError) and not cure:
            return _with_weights(network, tensors, named)
        raise ShapeError(f"{network}: {error}{cure}") from error


def _with_weights(network: str, tensors: Sequence[Any], named: dict[str, Any]) -> "Cost":
    from concord.cost.count import count
    from concord.zoo.build import build

    try:
        return count(build(network, **named), *tensors)
    except ShapeError as error:
        raise ShapeError(f"{network}: {error}") from error


def _tensor(one: Input) -> "Tensor | tuple[int, ...]":
    import torch

    return torch.empty(1, *one.shape, dtype=torch.int64, device="meta") if one.ids else one.shape


def _cure(bare: "nn.Module", wanted: Sequence[Input]) -> str:
    """The way out for a picture that is too small or of the wrong size."""
    from concord.cost.smallest import smallest_side

    one, *others = wanted
    side = None if one.ids or others or len(one.shape) != 3 else smallest_side(bare, one.shape[0])
    if side is None:
        return ""
    kind = "the smallest square picture" if side > min(one.shape[1:]) else "a picture"
    return f"; {kind} that it takes is {one.shape[0]}x{side}x{side}"


def add_to(app: typer.Typer) -> None:
    app.command(
        "cost",
        help="Parameters, multiply-accumulates, memory and receptive field of any network, exactly.\n\n"
        "Example: concord cost resnet18 mobilenet_v2 --input 3x224x224",
    )(cost_command)


def cost_command(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...",
            help="Names of the zoo, torchvision, timm, or package.module:factory; several are compared.",
            show_default=False,
            autocompletion=complete.networks,
        ),
    ],
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="SIZES",
            help="3x224x224 for numbers, ids:24 for token ids; once for each input of the network.",
        ),
    ] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Default: as in the paper.")] = None,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Sum up below so many module names; default: whatever fits.")
    ] = None,
    worked: Annotated[bool, typer.Option(help="Work out every layer by hand, step by step.")] = False,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the tables as one HTML file.")
    ] = None,
    json_: Json = False,
) -> None:
    allowed = [network for network in networks if ":" in network]  # typing a name is what allows it
    several = [cost_of(name, input_ or (), classes=classes, allow_code=allowed) for name in networks]
    if html:
        write_page(several, html)
    if json_:
        documents = [as_json(priced) for priced in several]
        print_json(documents[0] if len(documents) == 1 else documents)
        return
    print("\n\n".join(_texts(several, depth, worked)))


def _texts(several: Sequence["Priced"], depth: int | None, worked: bool) -> list[str]:
    from concord.report.cost_tables import comparison, layer_table, rules_table, totals
    from concord.report.cost_worked import worked_answer
    from concord.report.tables import plain

    texts = []
    for priced in several:
        if worked:
            texts.append("\n".join(worked_answer(priced)))
        elif len(several) == 1:
            rules = rules_table(priced, depth)
            texts += [plain(layer_table(priced, depth)), *([plain(rules)] if rules.rows else [])]
            texts.append("\n".join(f"{name:18}{said}" for name, said in totals(priced)))
    return [*texts, *([plain(comparison(several))] if len(several) > 1 else [])]


def write_page(several: Sequence["Priced"], to: str) -> None:
    """One HTML file with every layer of every network, blocks folded."""
    from pathlib import Path

    from concord.report.cost_page import cost_page
    from concord.training.files import write_text

    if Path(to).is_dir():
        raise UsageError(f"--html {to}: expected the name of a file, {to} is a folder")
    write_text(Path(to), cost_page(several))
