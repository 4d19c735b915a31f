"""Problems that concord does not know go the whole way through its seams: no room below knows of them."""

import copy
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from run_made import after, outcome
from safetensors.torch import load_file
from tasks_made import PROBLEMS, Tags, problem

import concord
from concord.consensus.costs import l2
from concord.errors import StoppedError

FIT = {"valid": 0.25, "epochs": 3, "batch_size": 8, "checkpoint_seconds": 0.0}


def ensemble(name, start=0):
    task, members, data = problem(name, start)
    return concord.Ensemble(members, consensus="l2", weight=0.1, task=task), data


def fit(name, out, *, start=0, **options):
    made, data = ensemble(name, start)
    made.fit(data, out=out, optimizer=concord.Adam(lr=0.02), **(FIT | options))
    return made


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Each problem trained once without a stop."""
    folder = tmp_path_factory.mktemp("foreign")
    return {name: (folder / name, fit(name, folder / name)) for name in PROBLEMS}


@pytest.mark.parametrize("name", PROBLEMS)
def test_ten_stops_at_random_moments_change_nothing(name, straight, tmp_path):
    moments = random.Random(name).sample(range(1, 4 * 3), 10)
    for number, polls in enumerate(moments):
        out = tmp_path / str(number)
        for part in range(100):
            torch.manual_seed(part)
            try:
                fit(name, out, start=7 * part, stop=after(polls) if part == 0 else lambda: False)
                break
            except StoppedError:
                continue
        assert outcome(out) == outcome(straight[name][0])


@pytest.mark.parametrize("name", PROBLEMS)
def test_an_update_is_that_of_plain_torch(name):
    """One step of gradient descent on the losses of both and twice the weight of their distance."""
    task, members, (x, y) = problem(name)
    members = {key: member.eval() for key, member in members.items()}  # no dropout, fixed statistics
    twins = copy.deepcopy(members)
    for member in (*members.values(), *twins.values()):
        member.train = lambda mode=True, member=member: member
    optimizer = torch.optim.SGD([p for m in members.values() for p in m.parameters()], lr=0.1)
    cohort = concord.cohort(members, task=task, consensus="l2")
    (step,) = concord.updates(cohort, [(x, y)], optimizer, weight=0.25)

    own = torch.optim.SGD([p for m in twins.values() for p in m.parameters()], lr=0.1)
    outputs = [m(*x) if isinstance(x, tuple) else m(x) for m in twins.values()]
    (one, weights, _), (other, _, _) = (task.compare(output, y) for output in outputs)
    apart = (l2(one, other) * weights).sum() / step.samples
    losses = [task.loss(output, y).mean() for output in outputs]
    (sum(losses) + 0.25 * apart).backward()  # each of the two edges holds the other member constant
    own.step()
    assert step.losses.tolist() == pytest.approx([loss.item() for loss in losses])
    assert step.consensus.item() == pytest.approx(apart.item())
    for member, twin in zip(members.values(), twins.values(), strict=True):
        for (key, a), b in zip(member.state_dict().items(), twin.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, msg=key)


@pytest.mark.parametrize("name", PROBLEMS)
def test_scores_do_not_depend_on_how_the_samples_are_cut_into_batches(name, straight):
    task, _, (x, y) = problem(name)
    trained = straight[name][1]
    whole = trained.evaluate((x, y))
    members = dict(trained.members)
    from torch.utils._pytree import tree_map

    from concord.training.evaluate import evaluate

    pieces = [
        (tree_map(lambda t, a=a: t[a : a + 13], x), tree_map(lambda t, a=a: t[a : a + 13], y))
        for a in range(0, 40, 13)
    ]
    again = task.scores(evaluate(members, pieces, task).tally, list(members))
    assert again == whole
    assert task.read(json.loads(json.dumps(whole.to_dict()))) == whole


@pytest.mark.parametrize("name", PROBLEMS)
def test_early_stopping_keeps_the_best_epoch_by_the_score_that_the_task_watches(name):
    made, data = ensemble(name)
    options = FIT | {"epochs": 30, "patience": 3}
    history = made.fit(data, optimizer=concord.Adam(lr=0.05), **options)
    watched = [made.task.watched(epoch.valid) for epoch in history.epochs]
    best = (min if watched[0].less_is_better else max)(value for value, _ in watched)
    assert history.best_epoch == 1 + [value for value, _ in watched].index(best)
    assert made.task.watched(history.valid).value == best
    assert len(history) == min(30, history.best_epoch + 3)


@pytest.mark.parametrize("name", PROBLEMS)
def test_predictions_are_what_the_task_combines(name, straight):
    task, _, (x, _) = problem(name)
    trained = straight[name][1]
    with torch.no_grad():
        outputs = [m.eval()(*x) if isinstance(x, tuple) else m.eval()(x) for m in trained.members.values()]
    torch.testing.assert_close(trained.predict(x), task.combine(outputs))


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_run_keeps_what_the_task_keeps_and_the_targets_that_are_one_tensor(name, straight):
    path, trained = straight[name]
    kept = load_file(path / "predictions.safetensors")
    first = kept.pop("targets", None)
    assert {key.split("/")[1] for key in kept} == set(trained.members)
    assert (first is None) == (name == "objects")  # whose targets are a dictionary
    assert {len(value) for value in kept.values()} == {len(next(iter(kept.values())))}
    if name == "tags":
        there = first >= 0
        wrong = (kept[f"members/{next(iter(trained.members))}/logits"].argmax(-1) != first)[there]
        rate = json.loads((path / "result.json").read_text())["members"][next(iter(trained.members))]["rate"]
        assert wrong.double().mean().item() == pytest.approx(rate)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_run_has_its_scores_in_the_places_of_every_other_run(name, straight):
    path, trained = straight[name]
    result = json.loads((path / "result.json").read_text())
    assert set(result["members"]) == set(trained.members)
    assert all(0 <= row["rate"] <= 1 for row in [*result["members"].values(), result["ensemble"]])
    assert result["seconds"] > 0
    _, members, data = problem(name, start=50)
    again = concord.load(path, members=members, task=trained.task)
    assert again.evaluate(data) == trained.evaluate(data)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_report_is_made_without_the_code_of_the_task(name, straight):
    page = concord.write_report([straight[name][0]]).read_text()
    assert all(f"m{width}" in page for width in PROBLEMS[name][2])
    assert "rate" in page
    assert "<svg" in page


def test_a_batch_without_anything_to_compare_costs_nothing():
    task, members, (x, y) = problem("objects")
    none = {"there": torch.zeros_like(y["there"]), "kind": y["kind"]}
    optimizer = torch.optim.SGD([p for m in members.values() for p in m.parameters()], lr=0.1)
    cohort = concord.cohort(members, task=task)
    (step,) = concord.updates(cohort, [(x, none)], optimizer, weight=1.0)
    assert step.consensus.item() == 0
    assert all(p.isfinite().all() for m in members.values() for p in m.parameters())


SOAK = [pytest.param(name, marks=pytest.mark.soak) for name in ("pixels", "objects")]


@pytest.mark.parametrize("name", ["tags", *SOAK])
def test_a_killed_process_is_continued_exactly(name, tmp_path, request):
    """SIGKILL, which no handler sees; ten times where --soak is given."""
    tests = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {tests!r}); import tasks_made; tasks_made.long_fit({name!r})"
    kills = 10 if request.config.getoption("--soak") else 1
    draws = random.Random(name)
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed")])
        deadline = time.monotonic() + 120
        while not list((tmp_path / "killed" / "ckpt").glob("step-*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(draws.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    for out in ("killed", "whole"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / out)], check=True)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_a_task_that_keeps_nothing_trains_in_memory_as_the_others_do():
    class Forgetful(Tags):
        def kept(self, output):
            return {}

    _, members, data = problem("tags")
    history = concord.Ensemble(members, task=Forgetful()).fit(data, **FIT)
    assert (len(history), history.predictions) == (3, {})
