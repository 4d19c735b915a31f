"""Attacks on the members of runs, with their page."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from concord.errors import UsageError
from concord.files.atomic import write_text
from concord.files.documents import with_digest
from concord.report.robustness import robustness_page
from concord.runs import attack_plan
from concord.runs.attack_plan import Plan
from concord.runs.attack_records import Robustness, notices
from concord.runs.attack_runs import attack_loaded
from concord.runs.folder import RunFolder
from concord.training.observer import SILENT, Observer


def attack_runs(
    runs: str | Path | Sequence[str | Path],
    eps: Sequence[float] = (0.1,),
    *,
    method: str = "fgsm",
    norm: str | None = None,
    steps: int | None = None,
    step_size: float | None = None,
    seed: int | None = None,
    target: str | None = None,
    member: str | None = None,
    limit: int | None = None,
    out: str | Path | None = None,
    data: str | None = None,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> dict[str, Any]:
    """Attack every member and the ensemble of these runs; gives what ``attack.json`` holds.

    ``out`` is the folder of attack.json and attack.html, by default attack/METHOD[-NORM][-to-CLASS] in the
    first run. Raises UsageError for an attack that makes no sense, and for runs of different images or
    classes; ResourceError where nothing can be written.
    """
    plan = attack_plan.plan_of(method, eps, norm=norm, steps=steps, step_size=step_size, seed=seed)
    folder, figures, found = attacked(
        [runs] if isinstance(runs, str | Path) else runs,
        plan,
        out,
        target=target,
        member=member,
        limit=limit,
        data=data,
        allow_code=allow_code,
        observer=observer,
    )
    write(folder, figures, found)
    return figures


def attacked(
    runs: Sequence[str | Path],
    plan: Plan,
    out: str | Path | None,
    *,
    target: str | None,
    member: str | None,
    limit: int | None,
    data: str | None,
    allow_code: Collection[str],
    observer: Observer,
) -> tuple[Path, dict[str, Any], Robustness]:
    """Where the results belong, the figures, and what the page is made of."""
    if not runs:
        raise UsageError("name at least one run")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit must be at least 1, got {limit}")
    paths = [Path(run) for run in runs]
    for path in paths:
        if [other.resolve() for other in paths].count(path.resolve()) > 1:
            raise UsageError(f"{path} is named twice")
        RunFolder(path).config()
    folder = Path(out) if out else paths[0] / "attack" / plan.name(target)
    found = attack_loaded(
        paths,
        plan,
        target=target,
        member=member,
        limit=limit,
        data=data,
        allow_code=allow_code,
        folder=folder,
        observer=observer,
    )
    return folder, figures_of(paths, plan, target, found), found


def figures_of(paths: Sequence[Path], plan: Plan, target: str | None, found: Robustness) -> dict[str, Any]:
    """Everything but the pictures, for JSON, with a digest: whoever shows them notices an edit."""
    stepwise = {"norm": plan.norm, "steps": plan.steps, "step_size": plan.step_size, "seed": plan.seed}
    figures = {
        "runs": [str(path) for path in paths],
        "checkpoints": list(found.checkpoints),
        "weights": list(found.weights),
        "own_test": found.own_test,
        "method": plan.method,
        **(stepwise if plan.method == "pgd" else {}),
        "target": target,
        "eps": list(plan.eps),
        "samples": found.samples,
        "networks": {
            network.name: {
                "clean_error": asdict(network.clean),
                "zero_gradients": network.stuck,
                "points": [asdict(point) for point in network.points],
            }
            for network in found.networks
        },
        "transfer": [asdict(transfer) for transfer in found.transfers],
        "notices": notices(found),
    }
    return with_digest(figures)


def write(folder: Path, figures: dict[str, Any], found: Robustness) -> None:
    write_text(folder / "attack.json", json.dumps(figures, indent=1, allow_nan=False))
    write_text(folder / "attack.html", robustness_page(found))
