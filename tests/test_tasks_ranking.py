"""Figures that need all samples at once, as average precision does: the task says rows, and ranks them."""

from dataclasses import asdict, dataclass

import pytest
import torch
import torch.nn.functional as F
from run_made import after
from sklearn.metrics import roc_auc_score
from torch import nn

import concord
from concord import Compared, Watched
from concord.errors import StoppedError


@dataclass(frozen=True)
class Area:
    nll: float
    area: float | None = None  # under the curve of hits over false alarms


@dataclass(frozen=True)
class Areas:
    members: dict[str, Area]
    ensemble: Area

    def to_dict(self):
        return asdict(self)


class Alarm:
    """One logit for each sample, (B, 1); target (B,) of 0 and 1. The area is that of all samples."""

    def loss(self, output, target):
        return F.binary_cross_entropy_with_logits(output[:, 0], target.float(), reduction="none")

    def compare(self, output, target):
        return Compared(output, torch.ones(len(output)))

    def combine(self, outputs):
        return torch.stack(outputs).mean(0)

    def size(self, members):
        return members + 2

    def tally(self, outputs, targets):
        nats = [self.loss(z, targets[0]).sum() for z in (*outputs, self.combine(outputs))]
        return torch.stack([torch.tensor(float(len(targets[0]))), *nats]).double()

    def scores(self, tally, names):
        rows = [Area(nats / tally[0].item()) for nats in tally[1:].tolist()]
        return Areas(dict(zip(names, rows[:-1], strict=True)), rows[-1])

    def rows(self, outputs, targets):
        return torch.cat([*outputs, self.combine(outputs), targets[0][:, None]], 1).double()

    def ranked(self, tally, rows, names):
        truth = rows[:, -1]
        found = [
            Area(nats / tally[0].item(), _area(z, truth))
            for nats, z in zip(tally[1:].tolist(), rows.T[:-1], strict=True)
        ]
        return Areas(dict(zip(names, found[:-1], strict=True)), found[-1])

    def read(self, plain):
        members = {name: Area(row["nll"], row["area"]) for name, row in plain["members"].items()}
        return Areas(members, Area(**plain["ensemble"]))

    def watched(self, scores):
        return Watched(scores.ensemble.area, less_is_better=False)

    def kept(self, output):
        return {}


def _area(z, truth):
    """Share of pairs of a hit and a false alarm in which the hit ranks higher."""
    return (z[truth == 1][:, None] > z[truth == 0]).double().mean().item()


def data(count=1200):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, generator=g)
    return x, (x[:, 0] + torch.randn(count, generator=g) > 0).long()


def ensemble(start=0):
    torch.manual_seed(start)
    return concord.Ensemble({"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)}, task=Alarm())


def test_what_is_ranked_is_ranked_over_all_batches():
    made, (x, y) = ensemble(), data()
    scores = made.evaluate((x, y))  # in batches of 500
    for name in ("a", "b"):
        assert scores.members[name].area == pytest.approx(roc_auc_score(y, made[name](x).detach()))
    both = (made["a"](x) + made["b"](x)).detach()
    assert scores.ensemble.area == pytest.approx(roc_auc_score(y, both))


def test_a_training_watches_what_is_ranked_and_a_stop_changes_nothing(tmp_path):
    def fit(out, stop=lambda: False):
        torch.manual_seed(1)
        return ensemble().fit(
            data(),
            epochs=4,
            valid=0.25,
            patience=3,
            optimizer=concord.Adam(lr=0.05),
            out=tmp_path / out,
            checkpoint_seconds=0.0,
            stop=stop,
        )

    whole = fit("whole")
    assert all(
        epoch.valid.ensemble.area > 0.5 and epoch.train.ensemble.area is None for epoch in whole.epochs
    )
    with pytest.raises(StoppedError):
        fit("cut", after(20))
    again = fit("cut")
    assert [e.valid for e in again.epochs] == [e.valid for e in whole.epochs]
