"""A search from its beginning to its folder.

OUT/model.onnx, model.int8.onnx   the network, in floats and (where that loses nothing) in 8 bits
OUT/classes.json, predict.py      what its outputs mean; labels image files without concord
OUT/MODEL_CARD.md, report.html    what it is and how good; how it was found
OUT/results.json                  all of that as data
OUT/search.json                   what was asked for, and every decision once it is made
OUT/runs/                         a run folder for every training; not needed to use the network
OUT/.lock                         held while a process is at work here
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from concord.errors import UsageError, amount
from concord.files.atomic import disk_errors, write_text
from concord.files.atomic import replace as put
from concord.runs.export_script import script_for
from concord.runs.folder import RunFolder, locked
from concord.runs.watching import Stop
from concord.shipping import material as data
from concord.shipping.asked import Asked
from concord.shipping.candidates import Shop
from concord.shipping.card import model_card
from concord.shipping.ending import EIGHT, FLOAT, SCRIPT, Ending, ended
from concord.shipping.entrants import Entrant
from concord.shipping.journal import FILE, Journal
from concord.shipping.material import Material
from concord.shipping.page import page
from concord.shipping.plan import BASELINE, Plan, plan_of
from concord.shipping.rungs import winner
from concord.shipping.runner import Runner
from concord.shipping.shipped import Shipped
from concord.shipping.teacher import teacher_of
from concord.shipping.ways import ABOUT, chosen, idle_teacher
from concord.training.observer import Observer

CLASSES, CARD, REPORT, RESULTS = "classes.json", "MODEL_CARD.md", "report.html", "results.json"


def planned(asked: Asked, observer: Observer, stop: Stop) -> Plan:
    """The plan alone; nothing is written."""
    material = _read(asked, stop)
    _report(material.notices, observer)
    return plan_of(asked, material, observer, stop)


def shipped(asked: Asked, out: Path, observer: Observer, stop: Stop) -> Shipped:
    """Everything, into the folder ``out``; the same call continues a search that was stopped there."""
    _refuse_foreign(out)
    fresh = not out.exists()
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(RunFolder(out)):
            return _searched(asked, out, observer, stop)
    finally:
        if fresh and not (out / FILE).exists():  # refused before anything was decided
            with suppress(OSError):
                (out / ".lock").unlink(missing_ok=True)
                out.rmdir()


def _searched(asked: Asked, out: Path, observer: Observer, stop: Stop) -> Shipped:
    journal = Journal(out, asked.plain())
    material = _read(asked, stop)
    journal.require(material.splits.fingerprint)
    _report(material.notices, observer)
    plan = Plan.of(journal.once("plan", lambda: plan_of(asked, material, observer, stop).to_dict()))
    observer.notice(_summary(plan))
    runner = Runner(out, material, plan.threads, journal, observer, stop)
    best = winner(plan, runner)
    shop = Shop(material.interface.shape, len(material.interface.classes))
    choice = chosen(plan, best, asked, shop, runner)
    began = time.perf_counter()
    ending = ended(choice, best.candidate.needs, asked.limits, BASELINE * asked.seconds, runner)
    end = journal.once("end", lambda: {"seconds": time.perf_counter() - began})
    took = plan.spent + _trained(plan, choice, journal) + end["seconds"]
    found = _found(asked, out, plan, best, choice, ending, runner, took)
    _write(found, runner)
    _report(found.notices[len(material.notices) :], observer)
    return found


def _read(asked: Asked, stop: Stop) -> Material:
    """The data; a teacher that does not fit them is refused before anything is trained."""
    material = data.read(asked.data, stop)
    if asked.teacher is not None:
        teacher_of(asked.teacher, material.interface)
    return material


def _refuse_foreign(out: Path) -> None:
    """UsageError for a folder with other things in it than a search."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; a search needs a folder")
    if out.is_dir() and not (out / FILE).exists():
        others = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
        if others:
            raise UsageError(f"{out} is a folder with other files in it, such as {others[0]}: give a new one")


def _report(notices: Sequence[str], observer: Observer) -> None:
    for notice in notices:
        observer.notice(notice)


def _summary(plan: Plan) -> str:
    took, disk = f"{plan.seconds / 60:.1f} minutes", f"at most {plan.bytes / 1e6:.1f} MB on disk"
    return f"plan: {amount(plan.runs, 'run')}, about {took}, {disk}"


def _trained(plan: Plan, choice: Mapping[str, Any], journal: Journal) -> float:
    """Seconds of all runs, and of the moment in which the pair was timed."""
    rows = [row for decision in _rungs(plan, journal) for row in decision["rows"]] + choice["rows"]
    return float(choice.get("timing_seconds", 0.0) + sum(row["seconds"] for row in rows))


def _rungs(plan: Plan, journal: Journal) -> list[dict[str, Any]]:
    return [journal.found(f"rung {number}") for number in range(1, len(plan.halving.rungs) + 1)]


def _decisions(plan: Plan, choice: Mapping[str, Any], journal: Journal) -> Sequence[Mapping[str, Any]]:
    """Every choice with its figures, in the order in which they were made."""
    rungs = [
        {
            "step": f"short runs {number}",
            "epochs": decision["epochs"],
            "rows": decision["rows"],
            "left_out": decision["left_out"],
            "chosen": decision["kept"],
        }
        for number, decision in enumerate(_rungs(plan, journal), 1)
    ]
    full = {
        "step": f"ways to train {choice['network']} (its partner: {choice['partner']})",
        "epochs": choice["epochs"],
        "rows": choice["rows"],
        "left_out": choice["left_out"],
        "chosen": [choice["way"]],
    }
    return [*rungs, full]


def _found(
    asked: Asked,
    out: Path,
    plan: Plan,
    best: Entrant,
    choice: Mapping[str, Any],
    ending: Ending,
    runner: Runner,
    took: float,
) -> Shipped:
    idle = idle_teacher(asked, [row["way"] for row in choice["rows"]])
    files = [FLOAT, *([EIGHT] if ending.int8.shipped else []), CLASSES, SCRIPT, CARD, REPORT, RESULTS]
    return Shipped(
        folder=str(out),
        asked=asked,
        network=best.name,
        way=choice["way"],
        about=ABOUT[choice["way"]],
        epochs=choice["epochs"],
        needs=ending.needs,
        tested=ending.tested,
        rivals=ending.rivals,
        int8=ending.int8,
        confidence=ending.confidence,
        plan=plan,
        decisions=_decisions(plan, choice, runner.journal),
        seconds=took,
        files=tuple(files),
        notices=(*runner.material.notices, *idle, *ending.notices),
    )


def _write(found: Shipped, runner: Runner) -> None:
    """The files that explain the network; results.json comes last."""
    out, interface = runner.folder, runner.material.interface
    write_text(out / SCRIPT, script_for(out / FLOAT, out / SCRIPT))
    write_text(out / CLASSES, json.dumps(list(interface.classes), ensure_ascii=False, indent=1) + "\n")
    write_text(out / CARD, model_card(found, interface))
    write_text(out / REPORT, page(found))
    put(out / RESULTS, json.dumps(found.to_dict(), indent=1, allow_nan=False).encode() + b"\n")
