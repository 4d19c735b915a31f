"""Write src/concord/zoo/table.json, what can be said about each network of the zoo without torch.

python tools/zoo_table.py
"""

import importlib
import json
import pkgutil
from pathlib import Path

import torch

import concord.zoo
from concord.cost.count import count
from concord.zoo.registry import ENTRIES, Entry, Row


def row(entry: Entry) -> Row:
    with torch.device("meta"):
        cost = count(entry.build(), entry.example)
    return Row(
        name=entry.name,
        module=entry.build.__module__,
        input=list(entry.example),
        parameters=cost.parameters,
        macs=cost.macs,
        source=entry.source,
    )


def table() -> str:
    """The whole file; one network per line."""
    for module in pkgutil.iter_modules(concord.zoo.__path__, "concord.zoo."):
        importlib.import_module(module.name)
    rows = [json.dumps(row(ENTRIES[name])) for name in sorted(ENTRIES)]
    return "[\n" + ",\n".join(rows) + "\n]\n"


if __name__ == "__main__":
    text = table()
    Path(concord.zoo.__path__[0], "table.json").write_text(text, encoding="utf-8")
