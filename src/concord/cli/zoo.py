"""``concord zoo``: the networks that concord has, without importing torch.

Example:
    $ concord zoo --json
"""

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from concord.cli.options import Json, print_json


def networks() -> Sequence[Mapping[str, Any]]:
    """Name, input, parameters, MACs and source of every network of the zoo."""
    from concord.zoo.registry import listing

    keys = ("name", "input", "parameters", "macs", "source")
    return [{key: row[key] for key in keys} for row in map(dict, listing())]


def add_to(app: typer.Typer) -> None:
    app.command("zoo", help="List the networks: parameters, MACs, source.\n\nExample: concord zoo")(
        zoo_command
    )


def zoo_command(json_: Json = False) -> None:
    rows = networks()
    if json_:
        print_json(rows)
        return
    width = max(len(row["name"]) for row in rows)
    print(f"{'network':{width}}  {'input':>10}  {'parameters':>12}  {'MACs':>15}  source")
    for row in rows:
        shape = "x".join(map(str, row["input"]))
        figures = f"{row['parameters']:>12,}  {row['macs']:>15,}"
        print(f"{row['name']:{width}}  {shape:>10}  {figures}  {row['source']}")
    print("Any network of torchvision and timm, and your own package.module:factory, can be a member too.")
