"""Numbers and the frames of films: losses and scores beside hand, torch and scikit-learn."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from torch import nn
from trust_made import sealed

import concord
from concord.consensus.costs import kl, l2
from concord.data.sequences.moving import MovingDigits
from concord.data.sequences.synthetic import adding
from concord.errors import CheckpointError, DataError, ShapeError, UsageError
from concord.tasks.ctc import Labelling
from concord.tasks.frames import Frames
from concord.tasks.regress import Regress
from concord.zoo.convlstm import convlstm_256
from concord.zoo.gru import gru
from concord.zoo.tcn import tcn_adding

NUMBERS, FILM = (5, 3, 2), (3, 2, 1, 4, 4)


def drawn(shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    outputs = [torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2)]
    return outputs, torch.rand(shape, generator=g, dtype=torch.float64)


def of_kind(task):
    return drawn(NUMBERS if isinstance(task, Regress) else FILM)


EACH = pytest.mark.parametrize("task", [Regress(), Frames()], ids=lambda task: type(task).__name__)


def test_a_regression_by_hand():
    """((1 - 3)^2 + (5 - 4)^2) / 2, and (2 - 2)^2 + (0 - 6)^2 over 2; variance of 3, 4, 2, 6 is 35/16."""
    output, target = torch.tensor([[1.0, 5.0], [2.0, 0.0]]), torch.tensor([[3.0, 4.0], [2.0, 6.0]])
    assert Regress().loss(output, target).tolist() == [2.5, 18.0]
    figures = Regress().scores(Regress().tally([output], [target]), ["a"]).members["a"]
    assert (figures.mse, figures.mae) == (10.25, 2.25)
    assert figures.r2 == pytest.approx(1 - 10.25 / (35 / 16))


def test_a_frame_by_hand():
    """Logits 0 and ln 3 for pixels 1/4 and 1: ln 2, and ln (4/3); a frame is their sum."""
    output = torch.tensor([0.0, math.log(3)]).view(1, 1, 1, 1, 2)
    target = torch.tensor([0.25, 1.0]).view(1, 1, 1, 1, 2)
    nats = math.log(2) + math.log(4 / 3)
    assert Frames().loss(output, target).tolist() == pytest.approx([nats])
    twice = [tensor.repeat(1, 3, 1, 1, 1) for tensor in (output, target)]
    assert Frames().loss(*twice).tolist() == pytest.approx([nats])
    figures = Frames().scores(Frames().tally([twice[0]], [twice[1]]), ["a"]).members["a"]
    assert figures.nll == pytest.approx(nats)
    assert figures.squared_error == pytest.approx(1 / 16 + 1 / 16)


@EACH
def test_losses_have_the_gradient_of_finite_differences(task, monkeypatch):
    (output, _), target = of_kind(task)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    assert torch.autograd.gradcheck(lambda z: task.loss(z, target), output.clone().requires_grad_())


@EACH
def test_the_truth_cannot_be_improved_and_a_sample_is_scored_alone(task):
    (output, _), target = of_kind(task)
    best = target if isinstance(task, Regress) else target.logit()
    assert (task.loss(best, target) <= task.loss(best + 0.1 * output, target)).all()
    whole = task.loss(output, target)
    torch.testing.assert_close(
        torch.cat([task.loss(output[i : i + 1], target[i : i + 1]) for i in range(len(target))]), whole
    )


def test_scores_of_numbers_are_those_of_scikit_learn():
    outputs, target = drawn(NUMBERS)
    scores = Regress().scores(Regress().tally(outputs, [target] * 2), ["a", "b"])
    pairs = zip((*outputs, sum(outputs) / 2), (*scores.members.values(), scores.ensemble), strict=True)
    for output, figures in pairs:
        y, f = target.float().flatten().numpy(), output.float().flatten().numpy()
        assert figures.mse == pytest.approx(mean_squared_error(y, f), rel=1e-5)
        assert figures.mae == pytest.approx(mean_absolute_error(y, f), rel=1e-5)
        assert figures.r2 == pytest.approx(r2_score(y, f), rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 1e6, *(0.1 * k for k in range(1, 20))])
def test_targets_that_do_not_vary_have_no_share_of_variance(value):
    y = torch.full((1001, 3), value)
    scores = Regress().scores(Regress().tally([y + 1], [y]), ["a"])
    assert scores.members["a"].r2 is None
    assert Regress().read(json.loads(json.dumps(scores.to_dict()))) == scores


def test_scores_of_frames_are_those_of_torch():
    outputs, target = drawn(FILM)
    scores = Frames().scores(Frames().tally(outputs, [target] * 2), ["a", "b"])
    pairs = zip((*outputs, sum(outputs) / 2), (*scores.members.values(), scores.ensemble), strict=True)
    for output, figures in pairs:
        p = output.float().sigmoid()
        nats = F.binary_cross_entropy(p, target.float(), reduction="sum").item()
        assert figures.nll == pytest.approx(nats / 6, rel=1e-5)
        assert figures.squared_error == pytest.approx(F.mse_loss(p, target.float()).item() * 16, rel=1e-5)


@EACH
def test_tallies_add_up_and_scores_are_read_back(task):
    outputs, target = of_kind(task)
    whole = task.tally(outputs, [target] * 2)
    parts = [
        task.tally([o[rows] for o in outputs], [target[rows]] * 2) for rows in (slice(0, 1), slice(1, 9))
    ]
    torch.testing.assert_close(sum(parts), whole)
    assert len(whole) == task.size(2)
    assert whole.dtype == torch.float64
    scores = task.scores(whole, ["a", "b"])
    assert task.read(json.loads(json.dumps(scores.to_dict()))) == scores
    figures = scores.ensemble
    assert task.watched(scores) == ((figures.mse if isinstance(task, Regress) else figures.nll), True)


def test_members_meet_on_their_numbers():
    (one, other), target = drawn(NUMBERS)
    (rows, weights, labels), (peer, *_) = (Regress().compare(z, target) for z in (one, other))
    distance = (weights * l2(rows, peer)).tolist()
    assert distance == pytest.approx(F.mse_loss(one, other, reduction="none").flatten(1).mean(1).tolist())
    assert labels is None
    assert torch.equal(Regress().compare(one, None).rows, rows)


def test_members_meet_on_the_probabilities_of_pixels():
    (one, other), target = drawn(FILM)
    (rows, weights, _), (peer, *_) = (Frames().compare(z, target) for z in (one, other))
    p, q = (torch.distributions.Bernoulli(logits=z.float().flatten()) for z in (one, other))
    torch.testing.assert_close(kl(rows, peer), torch.distributions.kl_divergence(q, p))
    assert weights.view(3, -1).sum(1).tolist() == pytest.approx([1] * 3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: Regress().loss(torch.zeros(4, 1), torch.zeros(4)),
            ShapeError,
            r"numbers \(4,\) .* got \(4, 1\)",
        ),
        (lambda: Regress().loss(torch.zeros(4, 0), torch.zeros(4, 0)), ShapeError, r"got \(4, 0\)"),
        (
            lambda: Frames().loss(torch.zeros(FILM), torch.zeros(3, 2, 1, 4, 5)),
            ShapeError,
            r"\(3, 2, 1, 4, 5\)",
        ),
        (lambda: Frames().loss(torch.zeros(3, 4), torch.zeros(3, 4)), ShapeError, r"\(B, T, C, H, W\)"),
        (
            lambda: Frames().loss(torch.zeros(FILM), torch.full(FILM, 255.0)),
            DataError,
            "from 0 to 1, got 255 to",
        ),
        (lambda: Frames().loss(torch.zeros(FILM), torch.full(FILM, -0.5)), DataError, "from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ("task", "cost", "words"),
    [
        ("regression", "kl", "'kl' needs logits of classes, which the task 'Regress' .* use l2 or l1"),
        (Regress(), "sce", "'sce' needs logits of classes"),
        ("regression", "kdcl_naive", "needs a class for every row"),
        ("frames", "kdcl_linear", "'kdcl_linear' needs a class for every row, which the task 'Frames'"),
        ("ctc", "kdcl_general", "which the task 'ctc' does not have"),
        (Labelling(3), "kdcl_minlogit", "which the task 'Labelling' does not have"),
    ],
)
def test_costs_between_what_members_do_not_give_are_refused(task, cost, words):
    with pytest.raises(UsageError, match=words):
        concord.Ensemble([nn.Linear(2, 1), nn.Linear(2, 1)], consensus=cost, weight=0.1, task=task)


@pytest.mark.parametrize(
    ("task", "cost"),
    [("regression", "l1"), ("frames", "kl"), ("ctc", "sce"), ("segments", "kdcl_naive"), ("regression", l2)],
)
def test_other_costs_are_taken(task, cost):
    concord.Ensemble([nn.Linear(2, 1), nn.Linear(2, 1)], consensus=cost, weight=0.1, task=task)


def sums():
    x, _, y = adding(48, 20, torch.Generator().manual_seed(0))
    return {"gru": gru(2, 1, hidden=6), "tcn": tcn_adding(levels=2, width=5)}, (x, y), Regress()


def films():
    digits = torch.randint(256, (5, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = MovingDigits(digits, 24, side=16, shown=3, ahead=2)
    return {name: convlstm_256(width=3, ahead=2) for name in ("a", "b")}, made, Frames()


@pytest.mark.parametrize(("name", "make", "figure"), [("regression", sums, "mse"), ("frames", films, "nll")])
def test_members_learn_together_under_the_name_and_are_kept(name, make, figure, tmp_path):
    torch.manual_seed(0)
    members, data, task = make()
    ensemble = concord.Ensemble(members, consensus="l2", weight=0.1, task=name)
    assert ensemble.task == task
    options = {"valid": 0.25, "test": 0.25, "batch_size": 4, "optimizer": concord.Adam(lr=0.01)}
    history = ensemble.fit(data, epochs=4, out=tmp_path / "run", **options)
    watched = [getattr(epoch.valid.ensemble, figure) for epoch in history.epochs]
    assert watched[-1] < watched[0]
    scores = ensemble.evaluate(data)
    assert set(scores.members) == set(members)
    again = concord.load(tmp_path / "run", members=make()[0], task=task)
    assert again.evaluate(data) == scores
    assert json.loads((tmp_path / "run" / "result.json").read_text())["ensemble"][figure] == pytest.approx(
        getattr(history.test.ensemble, figure)
    )
    x = data[0][:3] if isinstance(data, tuple) else data.batch(torch.arange(3), None)[0]
    expected = sum(net.eval()(x) for net in members.values()) / 2
    torch.testing.assert_close(ensemble.predict(x), expected.detach())
    ensemble.save(tmp_path / "saved")
    assert concord.load(tmp_path / "saved", members=make()[0], task=task).evaluate(data) == scores


def test_the_first_films_of_the_test_are_kept_and_drawn(tmp_path):
    members, data, task = films()
    ensemble, run = concord.Ensemble(members, task=task), tmp_path / "run"
    ensemble.fit(data, valid=None, test=data, epochs=1, batch_size=8, out=run)
    kept = load_file(run / "predictions.safetensors")
    x, y = data.batch(torch.arange(task.keeps), None)
    torch.testing.assert_close(kept["targets"], y)
    for name, member in members.items():
        with torch.no_grad():
            expected = 255 * member.eval()(x).sigmoid()
        assert (kept[f"members/{name}/frames"] - expected).abs().max() <= 0.501
    text = concord.write_report(run).read_text()
    assert "Film 3 of the test" in text
    assert "Film 4 of the test" not in text


def test_frames_of_another_run_are_refused(tmp_path):
    members, data, task = films()
    run = tmp_path / "run"
    concord.Ensemble(members, task=task).fit(data, valid=None, epochs=1, batch_size=8, out=run)
    file = run / "predictions.safetensors"
    cut = {name: tensor[:, :1] if "/a/" in name else tensor for name, tensor in load_file(file).items()}
    save_file({name: tensor.contiguous() for name, tensor in cut.items()}, file)
    sealed(run)
    with pytest.raises(CheckpointError, match="frames and targets are not those of one test set"):
        concord.write_report(run)


def test_the_consensus_brings_the_numbers_of_members_together():
    apart = {}
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        members, data, _ = sums()
        concord.Ensemble(members, consensus="l2", weight=weight, task="regression").fit(
            data, valid=None, epochs=4, batch_size=8
        )
        one, other = (net.eval()(data[0]) for net in members.values())
        apart[weight] = (one - other).square().mean().item()
    assert apart[10.0] < apart[0.0] / 2


def test_arrays_of_whole_numbers_are_targets_too():
    x = np.arange(40, dtype=np.float32).reshape(20, 2) / 40
    ensemble = concord.Ensemble([nn.Linear(2, 1)], task="regression")
    ensemble.fit((x, np.arange(20).reshape(20, 1)), epochs=1)
    assert ensemble.predict(x).shape == (20, 1)
    with pytest.raises(UsageError, match=r"must give numbers \(2,\) as its targets are, got \(2, 1\)"):
        ensemble.fit((x, np.arange(20)), epochs=1)
