"""``concord cost``: parameters, operations, memory and receptive field of any network, exactly.

Example:
    $ concord cost resnet18 mobilenet_v2 --input 3x224x224
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from concord.cli import complete
from concord.cli.options import Json, print_json, refuse_commas
from concord.errors import ShapeError, UsageError
from concord.files.place import require_folder_of

if TYPE_CHECKING:
    from concord.cost.record import Priced
    from concord.runs.cost_inputs import Input

SIZES = re.compile(r"(ids:)?(\d{1,9}(?:x\d{1,9})*)", re.ASCII)


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
            help="Names from the zoo, torchvision or timm, or package.module:factory. "
            "Several networks are compared.",
            show_default=False,
            autocompletion=complete.networks,
        ),
    ],
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="SIZES",
            help="Size of one sample: 3x224x224 for numbers, ids:24 for 24 token ids. "
            "Repeat the option for a network with several inputs. Default: the usual input of the network.",
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="Number of classes. Default: that of the network's paper.")
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of module levels to show; deeper layers are summed up. "
            "Default: all layers up to 60, else 1 level.",
        ),
    ] = None,
    worked: Annotated[bool, typer.Option(help="Show the calculation for every layer, step by step.")] = False,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the tables to one HTML file.")
    ] = None,
    json_: Json = False,
) -> None:
    refuse_commas("cost", networks)
    for name in networks:
        if SIZES.fullmatch(name):
            raise UsageError(f"{name}: sizes are given with --input, for example --input 3x32x32")
    _refuse_together(len(networks), depth, worked, json_)
    if html:
        require_folder_of(Path(html))
    from concord.cost.document import comparison_documents

    inputs = [parsed(text) for text in input_ or ()]
    several = [_cost_of(network, inputs, classes) for network in networks]
    if html:
        from concord.report.cost_page import write_page

        write_page(several, html)
    if json_:
        print_json(several[0].to_dict() if len(several) == 1 else comparison_documents(several))
        return
    print("\n\n".join(_texts(several, depth, worked)))


def parsed(text: str) -> "Input":
    """``3x32x32`` -> sizes of numbers; ``ids:24`` -> 24 token ids."""
    from concord.runs.cost_inputs import Input

    match = SIZES.fullmatch(text.strip())
    if not match:
        raise UsageError(f"--input {text!r}: expected sizes such as 3x224x224, or ids:24 for 24 token ids")
    shape = tuple(map(int, match[2].split("x")))
    if 0 in shape:
        raise UsageError(f"--input {text!r}: every size must be at least 1")
    return Input(shape, match[1] is not None)


def typed(one: "Input") -> str:
    """The option for this input, the other way round."""
    return f"--input {'ids:' if one.ids else ''}{'x'.join(map(str, one.shape))}"


def _cost_of(network: str, inputs: Sequence["Input"], classes: int | None) -> "Priced":
    """The cost; an error about inputs says which options to use."""
    from concord.runs.cost_inputs import InputError
    from concord.runs.costs import cost_of

    allowed = [network] if ":" in network else []  # typing a name is what allows it
    try:
        return cost_of(network, inputs, classes=classes, allow_code=allowed)
    except InputError as error:
        raise ShapeError(f"{error}; use {' '.join(map(typed, error.use))}") from error
    except ShapeError as error:
        if inputs or not allowed:
            raise
        raise ShapeError(f"{error}; use --input to give the sizes that the network takes") from error


def _refuse_together(networks: int, depth: int | None, worked: bool, json_: bool) -> None:
    """UsageError for options of which one would have no effect beside another."""
    if json_ and (depth or worked):
        raise UsageError("--json lists every layer with its rule; --depth and --worked change the text only")
    if depth and worked:
        raise UsageError("--worked shows every layer, --depth sums layers up; use one of them")
    if depth and networks > 1:
        raise UsageError(f"--depth is for the table of one network, got {networks} networks")


def _texts(several: Sequence["Priced"], depth: int | None, worked: bool) -> list[str]:
    from concord.report.cost_binary import binary_table
    from concord.report.cost_tables import layer_table, rules_table
    from concord.report.cost_totals import comparison, totals
    from concord.report.cost_worked import worked_answer
    from concord.report.tables import as_text

    texts = []
    for priced in several:
        if worked:
            texts.append("\n".join(worked_answer(priced)))
        elif len(several) == 1:
            layers, rules = layer_table(priced, depth), rules_table(priced, depth)
            binary = binary_table(priced)
            deeper = [f"{note} Use --depth {(depth or 1) + 1} for one more level." for note in layers.notes]
            texts += [
                as_text(replace(layers, notes=tuple(deeper))),
                *([as_text(rules)] if rules.rows else []),
                *([as_text(binary)] if binary.rows else []),
            ]
            texts.append("\n".join(f"{name:18}{text}" for name, text in totals(priced)))
    return [*texts, *([as_text(comparison(several))] if len(several) > 1 else [])]
