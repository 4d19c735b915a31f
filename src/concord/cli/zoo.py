"""``concord zoo``: the networks that concord has, without importing torch.

Example:
    $ concord zoo resnet20 mobilenet_v1
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from concord.cli import complete
from concord.cli.options import Json, print_json


def networks(names: Sequence[str] = ()) -> Sequence[Mapping[str, Any]]:
    """Name, input, parameters, MACs, field, source and sizes of these networks of the zoo, or of all.

    ``sizes`` may stand in brackets behind the name of a member, ``resnet20(filters=32)``; the values are the
    defaults, of which the figures are. UsageError for a name that is not there, and for brackets.
    """
    from concord.zoo.registry import listing

    keys = ("name", "input", "parameters", "macs", "receptive_field", "source", "sizes")
    found: list[dict[str, Any]] = [{key: row[key] for key in keys} for row in map(dict, listing())]
    rows = {row["name"]: row for row in found}
    return [_row(rows, name) for name in names] if names else list(rows.values())


def _row(rows: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    from concord.errors import UsageError, suggestion

    own, bracket, _ = name.partition("(")
    if own not in rows:
        cure = "concord cost NAME tells of networks of torchvision, timm and your own"
        raise UsageError(f"the zoo has no network {own!r}{suggestion(own, rows)}; {cure}")
    if bracket:
        raise UsageError(f"{name!r}: the zoo lists {own}; concord cost '{name}' counts it at other sizes")
    return rows[own]


def add_to(app: typer.Typer) -> None:
    app.command(
        "zoo",
        help="The networks: parameters, MACs, source; with names, one by one and with what can be chosen.\n\n"
        "Example: concord zoo mobilenet_v1",
    )(zoo_command)


def zoo_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NETWORK", help="Default: all.", autocompletion=complete.networks),
    ] = None,
    json_: Json = False,
) -> None:
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
    print("field: side of what one unit of the last map sees. What can be chosen: concord zoo NAME")
    print("Every layer of a network: concord cost NAME")
    print("Any network of torchvision and timm, and your own package.module:factory, can be a member too.")


def _entry(row: Mapping[str, Any]) -> str:
    """One network, a line for each thing to know of it."""
    lines = {
        "source": row["source"],
        "input": _shape(row["input"]),
        "parameters": f"{row['parameters']:,}",
        "MACs": f"{row['macs']:,}",
        "field": _field(row["receptive_field"]),
        "sizes": ", ".join(f"{size}={n}" for size, n in row["sizes"].items()) or "none",
    }
    if row["sizes"]:
        lines["sizes"] += f"; others in brackets: '{row['name']}({next(iter(row['sizes']))}=...)'"
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
