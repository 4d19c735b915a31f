"""``concord cost``: parameters, operations, memory and receptive field of any network, exactly.

Example:
    $ concord cost resnet18 mobilenet_v2 --input 3x224x224
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from concord.cli import complete
from concord.cli.options import Json, print_json
from concord.errors import UsageError

if TYPE_CHECKING:
    from concord.cost.record import Priced


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
        int | None,
        typer.Option(
            min=1,
            help="Depth of the module tree at which layers are summed up; default: what fits the terminal.",
        ),
    ] = None,
    worked: Annotated[bool, typer.Option(help="Work out every layer by hand, step by step.")] = False,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the tables as one HTML file.")
    ] = None,
    json_: Json = False,
) -> None:
    _refuse_together(len(networks), depth, worked, json_)
    allowed = [network for network in networks if ":" in network]  # typing a name is what allows it
    from concord.report.cost_json import as_documents, as_json
    from concord.report.cost_page import write_page
    from concord.runs.costs import cost_of

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
