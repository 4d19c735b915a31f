"""``concord cost``: parameters, operations, memory and receptive field of any network, exactly.

Example:
    $ concord cost resnet18 mobilenet_v2 --input 3x224x224
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concord.cli import complete
from concord.cli.cost_inputs import Input, cure, parsed, require_kinds, tensor, usual_classes, usual_inputs
from concord.cli.cost_json import as_documents, as_json
from concord.cli.options import Json, print_json
from concord.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from concord.cost.record import Cost
    from concord.report.cost_tables import Priced


def cost_of(
    network: str,
    inputs: Sequence[str] = (),
    *,
    classes: int | None = None,
    allow_code: Collection[str] = (),
) -> "Priced":
    """What a network costs, by name, for inputs such as ``3x224x224`` (numbers) or ``ids:24`` (token ids).

    Without inputs: those that the zoo, torchvision or timm know for it. Raises UsageError for an unknown
    name, ShapeError for inputs that the network refuses, with the smallest that it takes.
    """
    from concord.report.cost_tables import Priced

    wanted = [parsed(text) for text in inputs] or usual_inputs(network)
    channels = wanted[0].shape[0] if len(wanted[0].shape) > 1 else 1
    named = {"channels": channels, "classes": classes or usual_classes(network), "allow_code": allow_code}
    try:
        spent = counted(network, wanted, named)
    except ShapeError as error:
        if inputs or ":" not in network:
            raise
        raise ShapeError(f"{error}; {wanted[0].text} is a guess, --input says what it takes") from error
    return Priced(network, tuple(one.shape for one in wanted), spent)


def counted(network: str, wanted: Sequence[Input], named: dict[str, Any]) -> "Cost":
    """On the meta device; with weights and numbers if the network runs there with no picture at all."""
    from concord.cost.count import LayerError, count
    from concord.zoo.skeleton import skeleton

    tensors = [tensor(one) for one in wanted]
    bare = skeleton(network, **named)
    require_kinds(network, wanted)
    try:
        return count(bare, *tensors)
    except ShapeError as error:
        if "meta tensors" in str(error):  # it asks for numbers, whatever the size of its input
            return _with_weights(network, tensors, named)
        way_out = cure(bare, wanted, str(error))
        if isinstance(error, LayerError) and not way_out:
            return _with_weights(network, tensors, named)
        raise ShapeError(f"{network}: {error}{way_out}") from error


def _with_weights(network: str, tensors: Sequence[Any], named: dict[str, Any]) -> "Cost":
    from concord.cost.count import count
    from concord.zoo.build import build

    try:
        return count(build(network, **named), *tensors)
    except ShapeError as error:
        raise ShapeError(f"{network}: {error}") from error


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
    _refuse_together(len(networks), depth, worked, json_)
    allowed = [network for network in networks if ":" in network]  # typing a name is what allows it
    several = [cost_of(name, input_ or (), classes=classes, allow_code=allowed) for name in networks]
    if html:
        write_page(several, html)
    if json_:
        print_json(as_json(several[0]) if len(several) == 1 else as_documents(several))
        return
    print("\n\n".join(_texts(several, depth, worked)))


def _refuse_together(networks: int, depth: int | None, worked: bool, json_: bool) -> None:
    """UsageError for options of which one would have no effect beside another."""
    if json_ and (depth or worked):
        raise UsageError("--json lists every layer with its rule; --depth and --worked are for text")
    if depth and worked:
        raise UsageError("--worked works out every layer; --depth sums layers up in the table of one network")
    if depth and networks > 1:
        raise UsageError(f"--depth sums layers up in the table of one network, got {networks} networks")


def _texts(several: Sequence["Priced"], depth: int | None, worked: bool) -> list[str]:
    from concord.report.cost_tables import layer_table, rules_table
    from concord.report.cost_totals import comparison, totals
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

    from concord.files.atomic import write_text
    from concord.report.cost_page import cost_page

    if Path(to).is_dir():
        raise UsageError(f"--html {to}: expected the name of a file, {to} is a folder")
    write_text(Path(to), cost_page(several))
