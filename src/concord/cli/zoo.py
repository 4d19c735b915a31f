"""``concord zoo``: the networks that concord has, without importing torch.

Example:
    $ concord zoo --json
"""

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from concord.cli.options import Json, print_json


def networks() -> Sequence[Mapping[str, Any]]:
    """Name, input, parameters, MACs, receptive field and source of every network of the zoo."""
    from concord.zoo.registry import listing

    keys = ("name", "input", "parameters", "macs", "receptive_field", "source")
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
    print(f"{'network':{width}}  {'input':>10}  {'parameters':>12}  {'MACs':>15}  {'field':>5}  source")
    for row in rows:
        figures = f"{row['parameters']:>12,}  {row['macs']:>15,}  {_field(row['receptive_field']):>5}"
        print(f"{row['name']:{width}}  {_shape(row['input']):>10}  {figures}  {row['source']}")
    print("field: side of what one unit of the last map sees. Every layer of a network: concord cost NAME")
    print("Any network of torchvision and timm, and your own package.module:factory, can be a member too.")


def _shape(sizes: Sequence[Any]) -> str:
    """``3x224x224``; ``1x28x28+24`` for a picture and 24 symbols."""
    if sizes and isinstance(sizes[0], list):
        return "+".join(_shape(one) for one in sizes)
    return "x".join(map(str, sizes))


def _field(seen: Mapping[str, Any] | None) -> str:
    if seen is None:
        return "-"
    return _shape(seen["size"]) if isinstance(seen["size"], list) else str(seen["size"])
