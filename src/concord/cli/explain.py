"""``concord explain NETWORK``: one page about a network: its layers, its equations, and a drawing unfolded in
time. ``concord explain OPERATION``: what layers compute, worked out step by step.

Example:
    $ concord explain lstm
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from concord.cli import complete, explain_arithmetic, explain_field
from concord.cli.explain_field import plain_name
from concord.cli.options import Json, print_json
from concord.cli.verb import Verbs
from concord.files.place import require_folder_of

NETWORK = "network"  # the topic of a line whose first word is not a topic


class Topics(Verbs):
    """``concord explain lstm`` is ``concord explain network lstm``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        topics = self.list_commands(ctx)
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            topic = next((word for word in args if word in topics), NETWORK)
            rest = [word for word in args if word != topic]
            args = [topic, *rest]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        named = args[0] in self.list_commands(ctx)
        return super().resolve_command(ctx, args if named else [NETWORK, *args])


def add_to(app: typer.Typer) -> None:
    topics = typer.Typer(
        cls=Topics,
        help="Explain a network on an HTML page (concord explain NETWORK), or work out an operation of "
        "networks step by step (concord explain OPERATION).\n\n"
        "Example: concord explain lstm --to lstm.html\n\n"
        f"Example: concord explain transposed {explain_arithmetic.EXAMPLE}",
    )
    topics.command(
        NETWORK,
        help="Explain one network on an HTML page: input and output, layers with parameters and MACs, "
        "receptive field; of networks over steps equations, a drawing unfolded in time, and gradients "
        "over time. The word network may be left out.\n\n"
        "Example: concord explain lstm --to lstm.html",
    )(explain_command)
    explain_arithmetic.add_to(topics)
    explain_field.add_to(topics)
    app.add_typer(topics, name="explain")


def explain_command(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="Name from the zoo, torchvision or timm; sizes in brackets: 'lstm(hidden=10)'.",
            show_default=False,
            autocompletion=complete.explained,
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="HTML file to write. Default: NETWORK.html, with --json none."),
    ] = None,
    json_: Json = False,
) -> None:
    if to:
        require_folder_of(to)
    target = to or (None if json_ else Path(f"{plain_name(network)}.html"))
    from concord.api.explain import explain

    explained = explain(network, target)
    if json_:
        print_json({**explained.to_dict(), "page": None if target is None else str(target)})
    elif target is not None:
        print(f"{target} ({target.stat().st_size:,} bytes): open it in any browser")
