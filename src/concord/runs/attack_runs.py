"""Attacks on the members of runs: from loaded runs to what the report is made of."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from concord.attack.fgsm import fgsm
from concord.attack.gradient import Classifier, Loss, attacking
from concord.attack.norms import NORMS
from concord.attack.pgd import pgd
from concord.attack.strike import NO_ANSWER, SHOWN, Attack, Struck, strike, stuck_samples, untouched
from concord.attack.transfer import error_matrix, fooled_matrix
from concord.data.batches import ranges
from concord.data.images.images import Images
from concord.errors import UsageError, suggestion
from concord.files.atomic import disk_errors
from concord.files.links import refuse_links
from concord.runs.adversary import step_size_of
from concord.runs.attack_inputs import images_of, load_all, names_of, networks_of
from concord.runs.attack_plan import Plan
from concord.runs.attack_records import Attacked, Gallery, Point, Rate, Robustness, Transfer, Triple
from concord.runs.machine import settled
from concord.runs.pixels import unit
from concord.training.observer import SILENT, Observer

BATCH = 250


@dataclass(frozen=True)
class Target:
    """What is attacked: networks of images of 0 to 1, and the images."""

    networks: Mapping[str, Classifier]
    images: Images
    wanted: int | None  # the class that images are to be taken for

    def samples(self) -> Iterator[tuple[Tensor, Tensor]]:
        pairs = (self.images.batch(index, None) for index in ranges(len(self.images), BATCH))
        device = self.images.labels.device
        return ((unit(pixels.to(device)), labels) for pixels, labels in pairs)


def attack_of(plan: Plan, eps: float) -> Attack:
    """The attack of this size; equal seeds give equal random starts."""
    if plan.method == "fgsm":
        return partial(fgsm, eps=eps)
    generator = torch.Generator().manual_seed(plan.seed)

    def stepwise(loss: Loss, images: Tensor) -> Tensor:
        return pgd(
            loss,
            images,
            eps,
            steps=plan.steps,
            step_size=step_size_of(eps, plan.steps, plan.step_size),
            norm=NORMS[plan.norm],
            generator=generator,
        )

    return stepwise


def attacked_names(networks: Collection[str], member: str | None) -> list[str]:
    """All networks, or the one that was asked for."""
    if member is None:
        return list(networks)
    if member not in networks:
        known = ", ".join(networks)
        raise UsageError(f"no network {member!r}{suggestion(member, networks)}; there are: {known}")
    return [member]


def attack_all(
    target: Target, attacked: Sequence[str], plan: Plan, observer: Observer = SILENT, *, title: str
) -> Robustness:
    """Every attack on every network asked for, and what all networks say of the images."""
    names, labels, classes = list(target.networks), target.images.labels.cpu(), target.images.classes
    clean, _ = untouched(target.networks, target.samples())
    struck: dict[tuple[str, float], Struck] = {}
    observer.counted(0, len(attacked) * len(plan.eps))
    for name in attacked:
        for eps in plan.eps:
            attack = attack_of(plan, eps)
            with attacking(name):
                struck[name, eps] = strike(target.networks, name, target.samples(), attack, target.wanted)
            error = (struck[name, eps].votes[names.index(name)] != labels).double().mean().item()
            observer.counted(len(struck), len(attacked) * len(plan.eps))
            observer.notice(f"{name} at eps {eps:g}: error {100 * error:.2f} %")
    rows = []
    for name in attacked:
        place = names.index(name)
        points = tuple(_point(struck[name, eps], eps, place, labels, target.wanted) for eps in plan.eps)
        frozen = stuck_samples(target.networks[name], target.samples(), target.wanted).double().mean().item()
        rows.append(Attacked(name, _rate(clean[place] != labels), points, frozen))
    return Robustness(
        title=title,
        method=plan.sentence(None if target.wanted is None else classes[target.wanted]),
        samples=len(labels),
        networks=tuple(rows),
        transfers=tuple(_transfer(struck, eps, attacked, names, clean, labels) for eps in plan.eps),
        galleries=tuple(
            _gallery(name, plan, {eps: struck[name, eps] for eps in plan.eps}, classes)
            for name in attacked
            if any(len(struck[name, eps].examples) for eps in plan.eps)
        ),
    )


def _rate(hits: Tensor) -> Rate:
    return Rate.of(int(hits.sum()), len(hits))


def _point(struck: Struck, eps: float, place: int, labels: Tensor, wanted: int | None) -> Point:
    votes, confidences = struck.votes[place], struck.confidences[place]
    wrong = votes != labels
    answered = wrong & (votes != NO_ANSWER)
    sure = confidences[answered].double().mean().item() if answered.any() else None
    return Point(eps, _rate(wrong), sure, None if wanted is None else _rate(votes == wanted))


def _transfer(
    struck: Mapping[tuple[str, float], Struck],
    eps: float,
    attacked: Sequence[str],
    names: Sequence[str],
    clean: Tensor,
    labels: Tensor,
) -> Transfer:
    votes = torch.stack([struck[name, eps].votes for name in attacked])
    fooled = fooled_matrix(votes, clean, labels, [names.index(name) for name in attacked]).tolist()
    return Transfer(
        eps,
        tuple(attacked),
        tuple(names),
        tuple(map(tuple, error_matrix(votes, labels).tolist())),
        tuple(tuple(None if math.isnan(share) else share for share in row) for row in fooled),
    )


def _gallery(name: str, plan: Plan, by_eps: Mapping[float, Struck], classes: Sequence[str]) -> Gallery:
    """The smallest eps that fools as many images as are shown, or else the one that fools most."""
    counts = {eps: len(struck.examples) for eps, struck in by_eps.items()}
    full = [eps for eps, count in counts.items() if count == SHOWN]
    eps = min(full) if full else max(counts, key=lambda eps: counts[eps])
    shown = by_eps[eps].examples
    triples = [
        Triple(
            shown.images[i],
            shown.changed[i],
            classes[int(shown.labels[i])],
            classes[int(shown.votes[i])],
            float(shown.before[i]),
            float(shown.after[i]),
        )
        for i in range(len(shown))
    ]
    added = f"{eps:g} x sign" if plan.method == "fgsm" else "change"
    return Gallery(name, eps, added, tuple(triples))


def attack_loaded(
    runs: Sequence[Path],
    plan: Plan,
    *,
    target: str | None,
    member: str | None,
    limit: int | None,
    data: str | None,
    allow_code: Collection[str],
    folder: Path,
    observer: Observer,
) -> Robustness:
    """The whole of ``concord attack`` but for what it writes in ``folder``.

    The folder is made first: attacks take long, and a folder that cannot be had should be told before.
    """
    attacked = attacked_names(names_of(runs), member)
    loaded = load_all(runs, allow_code, observer)
    classes = loaded[0].interface.classes
    if target is not None and target not in classes:
        raise UsageError(
            f"--target {target}: no such class{suggestion(target, classes)}; there are: {', '.join(classes)}"
        )
    networks = networks_of(runs, loaded)
    wanted = None if target is None else classes.index(target)
    images, own_test = images_of(loaded, data, limit, wanted, observer)
    title = f"concord: attack on {', '.join(run.resolve().name for run in runs)}"
    refuse_links(folder)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with settled(loaded[0].config):
        found = attack_all(Target(networks, images, wanted), attacked, plan, observer, title=title)
    return replace(
        found,
        checkpoints=tuple(run.checkpoint.name for run in loaded),
        weights=tuple(run.weights for run in loaded),
        own_test=own_test,
    )
