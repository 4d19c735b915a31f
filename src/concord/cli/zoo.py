"""``concord zoo``: the list of networks, without importing torch.

Example:
    $ concord zoo resnet20 mobilenet_v1
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from concord.cli import complete
from concord.cli.options import Json, print_json, refuse_commas


def add_to(app: typer.Typer) -> None:
    app.command(
        "zoo",
        help="List the networks: input, parameters, MACs, receptive field and source. "
        "With names: these networks alone, each with its adjustable sizes.\n\n"
        "Example: concord zoo mobilenet_v1",
    )(zoo_command)


def zoo_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NETWORK", help="Names of networks. Default: all.", autocompletion=complete.networks
        ),
    ] = None,
    json_: Json = False,
) -> None:
    refuse_commas("zoo", names or [])
    from concord.zoo.registry import networks

    rows = networks(names or [])
    if json_:
        print_json(rows)
    elif names:
        print("\n\n".join(map(_entry, rows)))
    else:
        _print_all(rows)


def _print_all(rows: Sequence[Mapping[str, Any]]) -> None:
    width = max(len(row["name"]) for row in rows)
    print(f"{'network':{width}}  {'input':>10}  {'parameters':>12}  {'MACs':>15}  {'field':>5}  source")
    for row in rows:
        figures = f"{row['parameters']:>12,}  {row['macs']:>15,}  {_field(row['receptive_field']):>5}"
        print(f"{row['name']:{width}}  {_shape(row['input']):>10}  {figures}  {row['source']}")
    print("field: receptive field of the last local layer where no border cuts it, in pixels")
    print("Adjustable sizes: concord zoo NAME")
    print("Cost of every layer: concord cost NAME")
    print("Networks of torchvision and timm and your own (package.module:factory) can be members too.")


def _entry(row: Mapping[str, Any]) -> str:
    """One network, one figure on each line."""
    lines = {
        "source": row["source"],
        "input": _shape(row["input"]),
        "parameters": f"{row['parameters']:,}",
        "MACs": f"{row['macs']:,}",
        "field": _field(row["receptive_field"]),
        "sizes": ", ".join(f"{size}={n}" for size, n in row["sizes"].items()) or "none",
    }
    if row["sizes"]:
        lines["sizes"] += f"; set in brackets: '{row['name']}({next(iter(row['sizes']))}=...)'"
    return "\n".join([row["name"], *(f"  {what:11} {text}" for what, text in lines.items())])


def _shape(sizes: Sequence[Any]) -> str:
    """``3x224x224``; ``1x28x28+24`` for a picture and 24 symbols."""
    if sizes and isinstance(sizes[0], list):
        return "+".join(_shape(one) for one in sizes)
    return "x".join(map(str, sizes))


def _field(seen: Mapping[str, Any] | None) -> str:
    if seen is None:
        return "-"
    return _shape(seen["size"]) if isinstance(seen["size"], list) else str(seen["size"])
