"""``concord cost``: parameters, operations, memory and receptive field of any network, exactly.

Example:
    $ concord cost resnet18 mobilenet_v2 --input 3x224x224
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from concord.cli.cost_options import (
    Batch,
    Classes,
    Depth,
    Html,
    Measured,
    Networks,
    Sizes,
    Threads,
    Training,
    Worked,
)
from concord.cli.options import Json, print_json, refuse_commas
from concord.errors import ShapeError, UsageError
from concord.files.place import require_folder_of

if TYPE_CHECKING:
    from concord.bench.measurement import Measurement
    from concord.cost.record import Priced
    from concord.cost.training import TrainingCost
    from concord.report.tables import Table
    from concord.runs.cost_inputs import Input

SIZES = re.compile(r"(ids:)?(\d{1,9}(?:x\d{1,9})*)", re.ASCII)


def add_to(app: typer.Typer) -> None:
    app.command(
        "cost",
        help="Parameters, multiply-accumulates, memory and receptive field of any network, exactly.\n\n"
        "Example: concord cost resnet18 mobilenet_v2 --input 3x224x224",
    )(cost_command)


def cost_command(
    networks: Networks,
    input_: Sizes = None,
    classes: Classes = None,
    depth: Depth = None,
    worked: Worked = False,
    training: Training = False,
    measured: Measured = False,
    batch: Batch = None,
    threads: Threads = None,
    html: Html = None,
    json_: Json = False,
) -> None:
    refuse_commas("cost", networks)
    for name in networks:
        if SIZES.fullmatch(name):
            raise UsageError(f"{name}: sizes are given with --input, for example --input 3x32x32")
    _refuse_together(len(networks), depth, worked, json_)
    _refuse_idle(training, measured, depth, worked, batch, threads)
    if html:
        require_folder_of(Path(html))
    inputs = [parsed(text) for text in input_ or ()]
    several = [_cost_of(network, inputs, classes) for network in networks]
    updates = _updates(networks, inputs, batch, classes) if training else []
    times = _measurements(networks, inputs, batch, threads, classes) if measured else []
    if html:
        _write_page(several, updates, times, html)
    if json_:
        print_json(_documents(several, updates, times))
    elif training or measured:
        print("\n\n".join(_texts_of_runs(several, updates, times, depth)))
    else:
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

    try:
        return cost_of(network, inputs, classes=classes, allow_code=_allowed(network))
    except InputError as error:
        raise ShapeError(f"{error}; use {' '.join(map(typed, error.use))}") from error
    except ShapeError as error:
        if inputs or not _allowed(network):
            raise
        raise ShapeError(f"{error}; use --input to give the sizes that the network takes") from error


def _allowed(network: str) -> list[str]:
    """Typing the name of one's own code is what allows it."""
    return [network] if ":" in network else []


def _updates(
    networks: Sequence[str], inputs: Sequence["Input"], batch: int | None, classes: int | None
) -> list["TrainingCost"]:
    from concord.runs.training_costs import training_cost_of

    return [
        training_cost_of(name, inputs, batch=batch, classes=classes, allow_code=_allowed(name))
        for name in networks
    ]


def _measurements(
    networks: Sequence[str],
    inputs: Sequence["Input"],
    batch: int | None,
    threads: int | None,
    classes: int | None,
) -> list["Measurement"]:
    from concord.bench.measured import BATCHES, measured_of

    batches = BATCHES if batch is None else tuple(sorted({1, batch}))
    return [
        measured_of(
            name,
            inputs,
            batches=batches,
            threads=threads or 1,
            classes=classes,
            allow_code=_allowed(name),
        )
        for name in networks
    ]


def _refuse_together(networks: int, depth: int | None, worked: bool, json_: bool) -> None:
    """UsageError for options of which one would have no effect beside another."""
    if json_ and (depth or worked):
        raise UsageError("--json lists every layer with its rule; --depth and --worked change the text only")
    if depth and worked:
        raise UsageError("--worked shows every layer, --depth sums layers up; use one of them")
    if depth and networks > 1:
        raise UsageError(f"--depth is for the table of one network, got {networks} networks")


def _refuse_idle(
    training: bool,
    measured: bool,
    depth: int | None,
    worked: bool,
    batch: int | None,
    threads: int | None,
) -> None:
    """UsageError for options that have no effect with, or without, the cost of an update or a measurement."""
    if batch and not (training or measured):
        raise UsageError("--batch is for --training and --measured; all other figures are for one sample")
    if threads and not measured:
        raise UsageError("--threads is for --measured; counting needs no threads")
    if worked and (training or measured):
        raise UsageError("--worked explains the forward pass; use it without --training and --measured")
    if depth and measured and not training:
        raise UsageError("--depth is for tables of layers; --measured times whole networks")


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


def _texts_of_runs(
    several: Sequence["Priced"],
    updates: Sequence["TrainingCost"],
    times: Sequence["Measurement"],
    depth: int | None,
) -> list[str]:
    """Costs of updates, and measurements; predictions of binary layers stand in a table of their own."""
    from concord.cli.cost_measured import measured_table
    from concord.report.cost_binary import binary_table
    from concord.report.cost_training import training_comparison, training_table, training_totals
    from concord.report.tables import as_text

    texts = []
    if len(updates) == 1:
        texts.append(as_text(training_table(updates[0], depth)))
        texts.append("\n".join(f"{name:18}{text}" for name, text in training_totals(updates[0])))
    elif updates:
        texts.append(as_text(training_comparison(updates)))
    if times:
        texts += [as_text(table) for one in several if (table := binary_table(one)).rows]
        texts.append(as_text(measured_table(times)))
    return texts


def _documents(
    several: Sequence["Priced"], updates: Sequence["TrainingCost"], times: Sequence["Measurement"]
) -> Any:
    """One document, or a list of several."""
    from concord.cost.document import comparison_documents

    plain = [several[0].to_dict()] if len(several) == 1 else comparison_documents(several)
    documents: list[dict[str, Any]] = [{**one} for one in plain]
    for document, update in zip(documents, updates, strict=False):
        document["training"] = update.to_dict()
    for document, one in zip(documents, times, strict=False):
        document["measured"] = one.to_dict()
    return documents[0] if len(documents) == 1 else documents


def _write_page(
    several: Sequence["Priced"],
    updates: Sequence["TrainingCost"],
    times: Sequence["Measurement"],
    to: str,
) -> None:
    from concord.report.cost_page import write_page

    write_page(several, to, [*_tables_of_updates(updates), *_tables_of_times(times)])


def _tables_of_updates(updates: Sequence["TrainingCost"]) -> list["Table"]:
    if not updates:  # what follows imports torch, which takes seconds
        return []
    from concord.report.cost_training import training_comparison, training_table

    compared = [training_comparison(updates)] if len(updates) > 1 else []
    return [*compared, *map(training_table, updates)]


def _tables_of_times(times: Sequence["Measurement"]) -> list["Table"]:
    if not times:
        return []
    from concord.cli.cost_measured import measured_table

    return [measured_table(times)]
