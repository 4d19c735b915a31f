"""Write src/concord/zoo/table.json, what can be said about each network of the zoo without torch.

python tools/zoo_table.py
"""

import importlib
import json
import pkgutil
from pathlib import Path

import concord.zoo
from concord.runs.costs import cost_of
from concord.zoo.build import sizes_of
from concord.zoo.registry import ENTRIES, Entry, Row


def row(entry: Entry) -> Row:
    spent = cost_of(entry.name).to_dict()
    field = spent["receptive_field"]
    return Row(
        name=entry.name,
        module=entry.build.__module__,
        input=spent["input"],
        parameters=spent["parameters"],
        macs=spent["macs"],
        receptive_field=field and {"size": field["size"], "stride": field["stride"]},
        source=entry.source,
        sizes=sizes_of(entry.build),
    )


def table() -> str:
    """The whole file; one network per line."""
    for module in pkgutil.iter_modules(concord.zoo.__path__, "concord.zoo."):
        importlib.import_module(module.name)
    rows = [json.dumps(row(ENTRIES[name]), ensure_ascii=False) for name in sorted(ENTRIES)]
    return "[\n" + ",\n".join(rows) + "\n]\n"


if __name__ == "__main__":
    text = table()
    Path(concord.zoo.__path__[0], "table.json").write_text(text, encoding="utf-8")
