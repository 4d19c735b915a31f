"""Members that carry a state over a stream, trained by an ensemble: exact, resumed, and left alone."""

import json
import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from streams_made import ALPHABET, FIT, TEST, TRAIN, WALK, ensemble, members
from torch import nn

import concord
from concord.data.sequences.text import Windows
from concord.errors import StoppedError, UsageError
from concord.tasks.steps import Steps


def weights(made):
    return {f"{n}/{k}": t.clone() for n in made for k, t in made[n].state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def figures(folder):
    """What an epoch was, but for how long it took."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "samples_per_second")} for line in lines]


def test_an_ensemble_trains_as_a_plain_loop_over_the_streams_does():
    made = ensemble({"own": members(0)["recurrent"]})
    made.fit(
        TRAIN,
        epochs=2,
        batch_size=4,
        shuffle=False,
        schedule=None,
        optimizer=concord.Adam(lr=0.01, weight_decay=0),
    )
    net = members(0)["recurrent"].network
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    long = 599 // 4
    rows = torch.stack([WALK[b * long : (b + 1) * long + 1] for b in range(4)])
    for _ in range(2):
        state = net.initial(4)
        for t in range(0, long, 9):
            piece = rows[:, t : min(t + 9, long) + 1]
            logits, state = net.stream(piece[:, :-1], state)
            state = [tuple(part.detach() for part in cell) for cell in state]
            optimizer.zero_grad()
            F.cross_entropy(logits.transpose(1, 2), piece[:, 1:]).backward()
            optimizer.step()
    for key, tensor in net.state_dict().items():
        torch.testing.assert_close(made["own"].network.state_dict()[key], tensor, rtol=1e-4, atol=1e-6)


def test_streams_are_scored_with_their_whole_past():
    made = ensemble({"own": members()["recurrent"]})
    made.fit(TRAIN, valid=TEST, **FIT)
    net, long = made["own"].network.eval(), 299 // 3
    rows = torch.stack([WALK[600 + b * long : 600 + (b + 1) * long + 1] for b in range(3)])
    nll = F.cross_entropy(net(rows[:, :-1]).transpose(1, 2), rows[:, 1:]).item()
    assert made.evaluate(TEST).members["own"].nll == pytest.approx(nll, rel=1e-5)


def test_evaluation_between_epochs_does_not_disturb_the_training():
    scored, alone = ensemble(), ensemble()
    scored.fit(TRAIN, valid=TEST, test=Windows(WALK[600:], ALPHABET, 20), **FIT)
    alone.fit(TRAIN, **FIT)
    assert same(weights(scored), weights(alone))
    assert torch.equal(scored["recurrent"].kept, alone["recurrent"].kept)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch
from streams_made import FIT, TEST, TRAIN, ensemble
from concord.training.observer import Silent

class Killer(Silent):
    def update(self, step):
        if step.index == 24:
            os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
ensemble().fit(TRAIN, valid=TEST, **FIT, out={folder!r}, checkpoint_seconds=0.0, observer=Killer())
"""


def test_a_run_killed_within_a_stream_resumes_bit_for_bit(tmp_path):
    """An epoch has 17 updates; the run is killed at the eighth of the second."""
    program = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "killed"))
    ended = subprocess.run([sys.executable, "-c", program], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(figures(tmp_path / "killed")) == 1
    resumed, whole = ensemble(), ensemble()
    resumed.fit(TRAIN, valid=TEST, **FIT, out=tmp_path / "killed", checkpoint_seconds=0.0)
    whole.fit(TRAIN, valid=TEST, **FIT, out=tmp_path / "whole")
    assert same(weights(resumed), weights(whole))
    assert figures(tmp_path / "killed") == figures(tmp_path / "whole")
    assert torch.equal(resumed["convolutional"].kept, whole["convolutional"].kept)


def test_the_carried_state_is_part_of_the_checkpoint(tmp_path):
    made, asked = ensemble(), chain([False] * 6, iter(lambda: True, None))
    with pytest.raises(StoppedError):
        made.fit(TRAIN, **FIT, out=tmp_path / "run", stop=lambda: next(asked))
    read = members()
    concord.load(tmp_path / "run", members=read, task=Steps(5, watch="nll"))
    for name, sizes in {"recurrent": 2 * 2 * 6, "convolutional": 2 * (4 + 5) + 4 * (5 + 5)}.items():
        assert read[name].kept.shape == (4, sizes)
        assert read[name].kept.count_nonzero()
        assert torch.equal(read[name].kept, made[name].kept)


def test_stored_order_is_that_of_the_samples_in_every_epoch():
    class Seen(nn.Linear):
        def forward(self, x):
            if self.training:
                seen.append(x[:, 0].tolist())
            return super().forward(x)

    seen = []
    x = torch.arange(10.0)[:, None]
    fit = {"valid": None, "epochs": 2, "batch_size": 4}
    concord.Ensemble([Seen(1, 2)]).fit((x, torch.arange(10) % 2), shuffle=False, **fit)
    assert seen[-6:] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] * 2
    concord.Ensemble([Seen(1, 2)]).fit((x, torch.arange(10) % 2), **fit)
    assert seen[-6:] != [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] * 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 8}, "4 streams, which are read in order: give batch_size=4"),
        ({"shuffle": True}, "give shuffle=False"),
        ({"alternating": True}, "give alternating=False"),
        ({"micro_batch": 3}, "give micro_batch=None"),
        ({"batch_size": 8, "shuffle": True}, "give batch_size=4, shuffle=False"),
        ({"valid": 0.1}, "a set of streams cannot be cut: give valid as data of its own"),
        ({"shuffle": "no"}, "shuffle"),
    ],
)
def test_what_would_tear_streams_apart_is_refused(wrong, message):
    made = ensemble()
    before = weights(made)
    with pytest.raises(UsageError, match=message):
        made.fit(TRAIN, **{**FIT, **wrong})
    assert same(weights(made), before)
    assert made["recurrent"].kept.shape == (0, 0)
