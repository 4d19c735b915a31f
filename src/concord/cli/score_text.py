"""What train, resume and eval print of their scores."""

from collections.abc import Mapping
from typing import Any

from concord.cli.options import print_json
from concord.files.text import printable


def report_result(result: Mapping[str, Any], as_json: bool) -> None:
    """What ``train``, ``resume`` and ``eval`` print."""
    if as_json:
        print_json(result)
        return
    if "task" in result:
        print(vision_text(result))
        return
    if "ece" not in result["ensemble"]:
        print(sequence_text(result))
        return
    width = max(len(name) for name in (*result["members"], "ensemble"))
    print(f"{'':{width}}  test error %     nll     ece  parameters        MACs")
    for name, row in result["members"].items():
        cost = f"{row['parameters']:>12,}{row['macs']:>12,}"
        print(f"{name:{width}}  {100 * row['test_error']:12.2f}  {row['nll']:.4f}  {row['ece']:.4f}{cost}")
    run = printable(result["run"])
    if len(result["members"]) == 1:  # an ensemble of one is that one
        print(f"run: {run}")
        return
    row = result["ensemble"]
    print(f"{'ensemble':{width}}  {100 * row['test_error']:12.2f}  {row['nll']:.4f}  {row['ece']:.4f}")
    print(f"members agree on {100 * result['agreement']:.2f} % of the test samples; run: {run}")


def recall_text(result: Mapping[str, Any]) -> str:
    """Recall of every class, as ``eval`` prints it."""
    from concord.consensus.names import ENSEMBLE
    from concord.report.run_tables import recall_table
    from concord.report.tables import as_text

    rows = result["recall"]
    names = list(result["members"])
    recall = [[row["members"][name] for row in rows] for name in names]
    if len(names) > 1:
        names.append(ENSEMBLE)
        recall.append([row["ensemble"] for row in rows])
    classes, samples = [row["class"] for row in rows], [row["samples"] for row in rows]
    return as_text(recall_table(names, classes, samples, recall))


def uncertainty_text(result: Mapping[str, Any]) -> str:
    """Temperatures and sets of labels, as ``eval`` prints them."""
    from concord.report.tables import as_text
    from concord.report.uncertainty import sets_table, temperature_table
    from concord.runs.uncertainty import Uncertainty

    found = Uncertainty.within(result)
    assert found is not None
    rows = {**result["members"], "ensemble": result["ensemble"]}
    before = {name: (row["nll"], row["ece"]) for name, row in rows.items()}
    tables = (temperature_table(found, before), sets_table(found))
    return "\n\n".join([*map(as_text, tables), *map(printable, found.notes)])


def against_texts(result: Any) -> list[str]:
    """A table for each of the other data of ``--against``."""
    from concord.report.against import against_table
    from concord.report.tables import as_text
    from concord.runs.evaluate import Evaluation

    return (
        [as_text(against_table(found)) for found in result.against] if isinstance(result, Evaluation) else []
    )


def sequence_text(result: Mapping[str, Any]) -> str:
    """Figures of the members and of the ensemble, of steps or of labels."""
    from concord.report.sequence_tables import figures_table
    from concord.report.tables import as_text

    rows = dict(result["members"])
    if len(rows) > 1:
        rows["ensemble"] = result["ensemble"]
    lines = [as_text(figures_table(rows))]
    if result.get("agreement") is not None and len(rows) > 1:
        lines.append(f"members agree on {100 * result['agreement']:.2f} % of the test steps")
    return "\n".join([*lines, f"run: {printable(result['run'])}"])


def vision_text(result: Mapping[str, Any]) -> str:
    """Figures of the members and of the ensemble, of masks or of boxes."""
    from concord.report.tables import as_text
    from concord.report.vision_tables import class_table, figures_table

    rows, task = dict(result["members"]), result["task"]
    if len(rows) > 1:
        rows["ensemble"] = result["ensemble"]
    tables = [figures_table(task, rows), class_table(task, rows, result["classes"])]
    return "\n\n".join([*map(as_text, tables), f"run: {printable(result['run'])}"])
