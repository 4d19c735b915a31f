"""A model card: what a run's networks are, what for and how good, in Markdown under the hub's header.

Source: M. Mitchell et al., "Model cards for model reporting", 2019. The header is that of Hugging Face's hub,
https://huggingface.co/docs/hub/model-cards. Departure: licence, origin of the images and forbidden uses,
which no program knows, are left to whoever publishes the card, and the card says so.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from concord.consensus.names import ENSEMBLE
from concord.files.text import printable
from concord.report.compare import columns, summary
from concord.report.records import RunView
from concord.report.run_tables import settings_table
from concord.report.summary import run_summary, score_sentence, smallest
from concord.report.tables import Entry, Table, entries, escape, markdown, scored
from concord.report.text import decimal, percent, whole
from concord.runs.intervals import wilson

RUN = "RUN"  # in commands: the card is read where nobody knows the path
CLASSES = 20  # named in the text


@dataclass(frozen=True, eq=False)
class Card:
    """``run`` needs no test set here; ``others`` are results of the same training with other seeds."""

    run: RunView
    shape: tuple[int, int, int]  # channels, height, width
    classes: tuple[str, ...]
    samples: int  # in the test set
    weight_bytes: Mapping[str, int]  # of each member, as a safetensors file
    others: tuple[Mapping[str, Any], ...] = ()
    fgsm: Mapping[str, Any] | None = None  # what attack.json holds


def model_card(card: Card) -> str:
    """The whole file."""
    sections = {
        "What it is for": _use(card),
        "How to use it": _commands(card),
        "Test scores": f"{_scores(card)}\n{_seeds(card)}",
        "Adversarial images": _attacked(card),
        "Data": _data(card),
        "Training": _training(card),
        "To be added by whoever publishes it": "Licence. Origin of the images, and consent to their use. "
        "Intended users. Uses that are out of scope.",
    }
    parts = [f"---\n{_header(card)}\n---", f"# {escape(card.run.name)}", _summary(card.run)]
    parts += [f"## {title}\n\n{text.strip()}" for title, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def _header(card: Card) -> str:
    """YAML, each value as JSON, which is YAML too. The hub knows one model a card, so metrics have names."""
    errors = {column: _scores_of(card.run.result, column)["test_error"] for column in _columns(card)}
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"type": "custom", "name": card.run.config["data"]["source"]},
        "metrics": [
            {"type": "accuracy", "name": f"accuracy of {column}", "value": 1 - error}
            for column, error in errors.items()
        ],
    }
    fields = {
        "library_name": "concord",
        "pipeline_tag": "image-classification",
        "tags": ["concord", *dict.fromkeys(member.network for member in card.run.members)],
        "metrics": ["accuracy"],
        "model-index": [{"name": card.run.name, "results": [result]}],
    }
    return "\n".join(f"{k}: {printable(json.dumps(v, ensure_ascii=False))}" for k, v in fields.items())


def _summary(run: RunView) -> str:
    epochs = run.result["epochs"]
    best = ", the best by validation error" if "patience" in run.config["train"] else ""
    return (
        f"{escape(score_sentence(run))} The run {escape(run_summary(run))} It took {epochs} "
        f"epoch{'s' * (epochs != 1)}; the weights are those of its {run.result['checkpoint']}{best}."
    )


def _columns(card: Card) -> tuple[str, ...]:
    return columns(tuple(member.name for member in card.run.members))


def _scores_of(result: Mapping[str, Any], column: str) -> dict[str, Any]:
    scores: dict[str, Any] = result["ensemble"] if column == ENSEMBLE else result["members"][column]
    return scores


def what_it_names(shape: Sequence[int], classes: Sequence[str]) -> str:
    """What goes in and what comes out, and that the scores hold for images like those of the test."""
    c, h, w = shape
    named = ", ".join(map(escape, classes[:CLASSES]))
    more = f", and {len(classes) - CLASSES} more" if len(classes) > CLASSES else ""
    return (
        f"It takes images of {c}x{h}x{w} (channels, height, width) and names one of {len(classes)} "
        f'classes: {named}{more}.\n\nIt cannot say "none of these": any image gets one of the classes. The '
        "scores below hold for images like those of the test set"
    )


def _use(card: Card) -> str:
    said = what_it_names(card.shape, card.classes)
    return f"{said}; for others, `concord eval` with `--data` measures them."


def _commands(card: Card) -> str:
    member = smallest(card.run)
    chosen = ["--member", member.name] if member else []
    target = f"{member.name if member else ENSEMBLE}.onnx"
    commands = _console(
        ["concord", "predict", RUN, "photo.png", *chosen, *_allowed(card)],
        ["concord", "export", RUN, *chosen, "--to", target, *_allowed(card)],
    )
    return f"{RUN} stands for the path of this run folder.\n\n{commands}"


def _allowed(card: Card) -> list[str]:
    """Networks that are somebody's code have to be named by whoever runs them."""
    code = dict.fromkeys(member.network for member in card.run.members if ":" in member.network)
    return [part for network in code for part in ("--allow-code", network)]


def _console(*commands: Sequence[str]) -> str:
    """Commands as a shell takes them, in a block of their own."""
    lines = [f"$ {printable(shlex.join(command))}" for command in commands]
    return "\n".join(["```console", *lines, "```"])


def _scores(card: Card) -> str:
    names = _columns(card)
    found = [_scores_of(card.run.result, name) for name in names]
    costs = [[m.parameters, m.macs, card.weight_bytes[m.name]] for m in card.run.members]
    if len(costs) > 1:
        costs.append([None if None in column else sum(column) for column in zip(*costs, strict=True)])
    figures = zip(
        scored([scores["test_error"] for scores in found], percent),
        (Entry(_interval(scores["test_error"], card.samples)) for scores in found),
        scored([scores["nll"] for scores in found], decimal),
        scored([scores["ece"] for scores in found], decimal),
        strict=True,
    )
    named = zip(names, costs, figures, strict=True)
    rows = tuple((*entries(name, *map(whole, cost)), *row) for name, cost, row in named)
    header = ("network", "parameters", "MACs", "bytes", "test error %", "95 %", "NLL", "ECE")
    notes = (
        f"{card.samples:,} test images; the 95 % Wilson intervals are for the choice of the test images, "
        "not for another training. MACs: multiply-accumulates for one image. Bytes: the weights as a "
        "safetensors file. NLL: negative log-likelihood. ECE: calibration error.",
    )
    return markdown(Table("This training", header, rows, notes=notes))


def _interval(error: float, samples: int) -> str:
    low, high = wilson(round(error * samples), samples)
    return f"{percent(low)} to {percent(high)}"


def _seeds(card: Card) -> str:
    """Mean and spread over trainings that differ by their seed."""
    results = (card.run.result, *card.others)
    if len(results) < 2:
        return "One training with one seed: how much another one would differ was not measured here."
    rows = []
    for column in _columns(card):
        errors = [_scores_of(result, column)["test_error"] for result in results]
        found = summary(errors)
        rows.append(entries(column, *map(percent, (found.mean, found.sd, min(errors), max(errors)))))
    header = ("network", "mean test error %", "standard deviation", "smallest", "largest")
    caption = f"{len(results)} trainings that differ by their seed, this one among them"
    return markdown(Table(caption, header, tuple(rows)))


def _attacked(card: Card) -> str:
    if card.fgsm is None:
        command = ["concord", "attack", RUN, "--eps", "0.05,0.1", *_allowed(card)]
        return f"Not measured. Run this command, then write the card again:\n\n{_console(command)}"
    rows = []
    for name, known in card.fgsm["networks"].items():
        errors = [known["clean_error"], *(point["error"] for point in known["points"])]
        rows.append(entries(name, *(percent(error["share"]) for error in errors)))
    header = ("network", "unchanged", *(f"eps {eps:g}" for eps in card.fgsm["eps"]))
    caption = (
        f"FGSM (Goodfellow et al. 2015): error in % on {card.fgsm['samples']:,} test images, each changed "
        "along the gradient of the network of its row"
    )
    notes = (
        "eps: the largest change of a pixel, for pixels of 0 to 1. Attacks compute in float32, scores in "
        f"{card.run.config['train']['precision']}.",
        *card.fgsm["notices"],
    )
    return markdown(Table(caption, header, tuple(rows), notes=notes))


def _data(card: Card) -> str:
    rows = (
        entries("source", str(card.run.config["data"]["source"])),
        entries("fingerprint (SHA-256 of all samples)", str(card.run.result["fingerprint"])),
        entries("test images", whole(card.samples)),
    )
    return markdown(Table("Where the images come from", ("what", "value"), rows, names=2))


def _training(card: Card) -> str:
    config = card.run.config
    rows = tuple(
        entries(m["name"], m["network"], "yes" if m.get("pretrained") else "no", _part(m))
        for m in config["members"]
    )
    header = ("member", "network", "pretrained", "part in the training")
    members = Table("Members", header, rows, names=4)
    settings = settings_table("Settings", {"run": {k: v for k, v in config.items() if k != "members"}})
    notes = (*_made(card.run.stamp), *card.run.result["notices"])
    return "\n".join([markdown(members), markdown(replace(settings, notes=notes))])


def _part(member: Mapping[str, Any]) -> str:
    if member.get("teacher"):
        return f"teacher with the weights of {member['teacher']}"
    return "retired before the end" if member.get("retired") else "learns"


def _made(stamp: Mapping[str, Any]) -> list[str]:
    """Programs, device and time, where the run kept its stamp."""
    if not stamp:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in stamp["versions"].items())
    return [f"Started {stamp['started']} on {stamp['device']} with {versions}."]
