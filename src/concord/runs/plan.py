"""From the configuration to the consensus, edges and weight of an epoch.

Two of them look at the last validation scores (``seen``): KDCL-General takes its weights from the covariance
of errors, disagreement matching pairs whoever disagrees most. Before the first epoch there is nothing to look
at, so the former starts with equal weights and the latter with a random matching.
"""

from collections.abc import Sequence

import torch

from concord.consensus import kdcl, schedule
from concord.consensus.costs import pair_cost
from concord.consensus.edges import (
    SHAPES,
    Edges,
    disagreement_matching,
    random_matching,
    scaled,
    shape,
    table,
)
from concord.consensus.objective import Consensus, pairwise
from concord.consensus.recommended import WEIGHTS
from concord.errors import UsageError
from concord.runs.config import Config, Train
from concord.runs.config_consensus import Consensus as Settings
from concord.runs.config_optimizers import Muon as MuonSettings
from concord.runs.config_optimizers import OwnOptimizer
from concord.runs.config_optimizers import Sgd as SgdSettings
from concord.runs.ramps import Cosine, Piecewise, Ramp
from concord.training.job import Plan, Seen
from concord.training.loop import Rule, Weight
from concord.training.muon import Muon
from concord.training.optim import Adam, MakeOptimizer, Sgd, learning_rate

KDCL = {*kdcl.TARGETS, "kdcl_general"}


def plan_of(config: Config, steps: int) -> Plan:
    """How the configuration says that members are optimised, in epochs of that many updates."""
    train = config.train

    def bind(epoch: int, seen: Seen) -> tuple[Consensus, Edges]:
        consensus = consensus_of(config.consensus, len(config.members), seen)
        return consensus, edges_of(config, epoch, seen)

    return Plan(
        epochs=train.epochs,
        optimizer=optimizer_of(train),
        rate=learning_rate(
            train.optimizer.lr,
            train.schedule,
            epochs=train.epochs,
            steps=steps,
            warmup=train.warmup,
            cycles=train.cycles,
        ),
        bind=bind,
        weight=weight_of(config.consensus, train.epochs * steps),
        rule=Rule(train.update == "alternating", train.clip, train.micro_batch),
        ema=train.ema,
        patience=train.patience,
        test_each_epoch=train.test == "epoch",
        checkpoint_seconds=train.checkpoint_seconds,
    )


def optimizer_of(train: Train) -> MakeOptimizer:
    """The optimiser that the settings name."""
    chosen = train.optimizer
    if isinstance(chosen, OwnOptimizer):
        raise UsageError(
            f"the optimizer {chosen.name} was given in Python; continue there with fit(..., out=...)"
        )
    if isinstance(chosen, SgdSettings):
        return Sgd(chosen.lr, chosen.momentum, chosen.nesterov, chosen.weight_decay, chosen.decay)
    if isinstance(chosen, MuonSettings):
        return Muon(**chosen.model_dump(exclude={"kind"}))
    decoupled = chosen.kind == "adamw"
    return Adam(chosen.lr, chosen.betas, chosen.eps, chosen.weight_decay, chosen.decay, decoupled)


def consensus_of(settings: Settings, members: int, seen: Seen) -> Consensus:
    """The consensus cost that the settings name."""
    name, temperature = settings.cost, settings.temperature
    if name == "kdcl_general":
        return kdcl.towards(kdcl.general(_general_weights(members, seen)), temperature or 2.0)
    if name in kdcl.TARGETS:
        return kdcl.towards(kdcl.TARGETS[name], temperature or 2.0)
    # "none" has weight 0, see ``weight_of``: its cost is never computed
    return pairwise(pair_cost("l2" if name == "none" else name, temperature or 1.0))


def _general_weights(members: int, seen: Seen) -> list[float]:
    covariance = (seen or {}).get("error_covariance")
    if covariance is None:
        return [1 / members] * members
    return kdcl.variance_weights(torch.tensor(covariance, dtype=torch.float64))


def edges_of(config: Config, epoch: int, seen: Seen) -> Edges:
    """The edges of this epoch, scaled as the settings say.

    A shape is one of the members that are not retired. A KDCL target is made of all members, so a shape says
    who learns from it, each with weight 1 as in the paper; a table gives weights of its own.
    """
    settings, cost = config.consensus, config.consensus.cost
    retired = [i for i, member in enumerate(config.members) if member.retired]
    if not isinstance(settings.edges, str):
        return scaled(table(settings.edges, settings.detach).without(retired), settings.scale, cost)
    places = [i for i in range(len(config.members)) if i not in retired]
    edges = _named(config, places, epoch, seen).placed(places, len(config.members))
    return scaled(edges, "mass1" if cost in KDCL else settings.scale, cost)


def uneven(config: Config) -> bool:
    """Whether a KDCL run has a shape in which members have different numbers of edges."""
    name, m = config.consensus.edges, len(config.members)
    if config.consensus.cost not in KDCL or not isinstance(name, str) or name not in SHAPES:
        return False
    edges = shape(name, m)
    return any(edges.mass(i) not in (0, 1) for i in range(m))


def _named(config: Config, places: Sequence[int], epoch: int, seen: Seen) -> Edges:
    """The edges of a named shape between the members at these places."""
    settings, m = config.consensus, len(places)
    name, detach = str(settings.edges), settings.detach
    if not isinstance(detach, bool):
        detach = [[detach[i][j] for j in places] for i in places]
    if name == "disagreement_matching" and seen and seen.get("disagreement") is not None:
        apart = [[seen["disagreement"][i][j] for j in places] for i in places]
        return table(disagreement_matching(apart), detach)
    if name.endswith("_matching"):
        return table(random_matching(m, config.train.seed, epoch), detach)
    return shape(name, m, detach)


def looks_at_validation(config: Config) -> str | None:
    """The first setting that needs validation scores; None if there is none."""
    looks = {
        "train.patience": config.train.patience is not None,
        "consensus.cost kdcl_general": config.consensus.cost == "kdcl_general",
        "consensus.edges disagreement_matching": config.consensus.edges == "disagreement_matching",
    }
    return next((setting for setting, looking in looks.items() if looking), None)


def pointless(config: Config) -> list[str]:
    """What of the consensus has no effect."""
    cost = config.consensus.cost
    if cost == "none":
        return []
    if len(config.members) == 1:
        return [f"consensus {cost} has no effect: there is one member, which has nobody to agree with"]
    if not config.consensus.weight:
        other = "; without a weight it has the recommended one" if cost in WEIGHTS else ""
        return [f"consensus {cost} has weight 0: this is the plain ensemble{other}"]
    return []


def weight_of(settings: Settings, updates: int) -> Weight:
    """The weight of update ``index`` of ``updates``: the configured one times the schedule's factor.

    The only update of a training is its last one, so that a weight that rises has an effect.
    """
    ramp = _schedule(settings)
    alpha = 0.0 if settings.cost == "none" else settings.weight
    return lambda index: alpha * ramp(index / (updates - 1) if updates > 1 else 1.0)


def _schedule(settings: Settings) -> schedule.Schedule:
    match settings.schedule:
        case Ramp(kind="linear", until=until):
            return schedule.linear(until)
        case Ramp(kind="sigmoid", until=until):
            return schedule.sigmoid(until)
        case Ramp(until=until):
            return schedule.burn_in(until)
        case Cosine(start=start, end=end):
            return schedule.cosine(start, end)
        case Piecewise(points=points):
            return schedule.piecewise(points)
        case _:
            return schedule.constant()
