"""Tasks of sequences and of pixels by name, through the Python door: two kinds of members together."""

import pytest
import torch
from torch import nn

import concord
from concord.data.sequences.chomsky import words
from concord.data.sequences.languages import counted, next_symbols
from concord.data.sequences.synthetic import temporal_order
from concord.errors import UsageError
from concord.layers.tiles import Tiled
from concord.tasks.classify import Classify
from concord.tasks.ctc import Labelling
from concord.tasks.detection.v1 import YoloV1
from concord.tasks.detection.v2 import YoloV2
from concord.tasks.segment import Segment
from concord.tasks.steps import Steps
from concord.zoo.char_rnn import char_lstm
from concord.zoo.gru import gru
from concord.zoo.lstm import peephole_lstm
from concord.zoo.tcn import char_tcn, tcn_copy, tcn_mnist
from concord.zoo.unet import unet

FIT = {"valid": 0.25, "epochs": 2, "batch_size": 8}


def drawn():
    return torch.Generator().manual_seed(0)


def sequence():
    x, lengths, y = temporal_order(40, 20, drawn())
    members = {"lstm": peephole_lstm(6, 4, hidden=8), "tcn": tcn_mnist(6, 4, levels=2, width=6)}
    return members, ((x, lengths), y), Classify(4)


def segments():
    x, lengths, y = words("reverse", torch.randint(2, 6, (40,), generator=drawn()), drawn())
    one_hot = nn.functional.one_hot(x, 3).float()
    members = {"tcn": tcn_copy(3, 2, levels=2), "small": tcn_copy(3, 2, levels=1, width=4)}
    return members, ((one_hot, lengths), y), Steps(2)


def language():
    x, lengths, y = next_symbols([counted(n, 2) for n in range(1, 41)])
    members = {"lstm": char_lstm(3, 3, hidden=8), "tcn": char_tcn(3, 3, width=8, embedded=3)}
    return members, ((x, lengths), y), Steps(3, watch="nll")


class Reader(nn.Module):
    """Logits of three classes, the blank among them, at every step."""

    def __init__(self, hidden):
        super().__init__()
        self.body, self.head = nn.GRU(2, hidden, batch_first=True), nn.Linear(hidden, 3)

    def forward(self, x):
        return self.head(self.body(x)[0])


def ctc():
    x = torch.randn(40, 9, 2, generator=drawn())
    labels = torch.tensor([[1, 2, -1], [2, 2, 1], [-1, -1, -1], [1, -1, -1]]).repeat(10, 1)
    return (
        {"a": Reader(6), "b": Reader(9)},
        (x, {"labels": labels, "steps": torch.full((40,), 9)}),
        Labelling(3),
    )


def pictures(count, height, width):
    """Noise, of which the bright pixels are class 1."""
    x = torch.rand(count, 1, height, width, generator=drawn())
    return x, (x[:, 0] > 0.7).long()


def segment():
    members = {
        "deep": Tiled(unet(width=3, depth=2, same=1, dropout=0), largest=56),
        "flat": unet(width=4, depth=1, same=1, dropout=0),
    }
    return members, pictures(20, 16, 12), Segment(2)


KINDS = {"sequence": sequence, "segments": segments, "language": language, "ctc": ctc, "segment": segment}


@pytest.mark.parametrize("name", KINDS)
def test_members_of_two_kinds_learn_together_under_a_name(name, tmp_path):
    torch.manual_seed(0)
    members, data, task = KINDS[name]()
    ensemble = concord.Ensemble(members, consensus="l2", weight=0.1, task=name)
    with pytest.raises(UsageError, match="fit first"):
        _ = ensemble.task
    history = ensemble.fit(data, **FIT, out=tmp_path / "run")
    assert ensemble.task == task
    scores = ensemble.evaluate(data)
    assert set(scores.members) == set(members)
    assert scores.ensemble.error >= 0
    assert len(history.epochs) == 2
    ensemble.save(tmp_path / "saved")
    again = concord.load(tmp_path / "saved", members=KINDS[name]()[0], task=task)
    assert again.evaluate(data) == scores


class Detector(nn.Module):
    """Boxes in cells of 8x8 pixels; the attributes say how the output is read."""

    def __init__(self, width, version=2, classes=2):
        super().__init__()
        self.version, self.classes = version, classes
        self.cells, self.boxes = (4, 2) if version == 1 else (0, 2)
        self.strides = () if version == 1 else (8,)
        self.anchors = () if version == 1 else (((8.0, 8.0), (16.0, 12.0)),)
        numbers = 4 * 4 * (classes + 10) if version == 1 else 2 * (5 + classes)
        body = [
            nn.Conv2d(3, width, 3, 4, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, width, 3, 2, 1),
            nn.LeakyReLU(0.1),
        ]
        last = (
            [nn.Flatten(), nn.Linear(16 * width, numbers)] if version == 1 else [nn.Conv2d(width, numbers, 1)]
        )
        self.net = nn.Sequential(*body, *last)

    def forward(self, x):
        return self.net(x)


def squares(count=24):
    """Dark pictures with one bright square, red or green."""
    x, y = torch.zeros(count, 3, 32, 32), torch.zeros(count, 1, 4)
    labels = torch.arange(count)[:, None] % 2
    for i in range(count):
        left, top = (5 * i) % 20, (7 * i) % 20
        x[i, i % 2, top : top + 10, left : left + 10] = 1
        y[i, 0] = torch.tensor([left, top, left + 10, top + 10])
    none = torch.zeros(count, 1, dtype=torch.bool)
    return x, {"boxes": y, "labels": labels, "crowd": none, "difficult": none}


@pytest.mark.parametrize("version", [1, 2])
def test_detectors_learn_together_under_the_head_that_they_describe(version, tmp_path):
    torch.manual_seed(0)
    members = {"small": Detector(6, version), "big": Detector(9, version)}
    ensemble = concord.Ensemble(members, consensus="l2", weight=0.01, task="detect")
    history = ensemble.fit(
        squares(), **FIT | {"epochs": 30}, optimizer=concord.Adam(lr=0.01), out=tmp_path / "run"
    )
    head = ensemble.task.head
    assert head == (YoloV1(2, 4, 2, (32, 32)) if version == 1 else YoloV2(2, ((8.0, 8.0), (16.0, 12.0)), 8))
    first, *_, last = (epoch.train.members["small"].loss for epoch in history.epochs)
    assert last < 0.5 * first
    scores = ensemble.evaluate(squares())
    assert scores.ensemble.ap50 > (0.2 if version == 1 else 0.5)
    again = concord.load(
        tmp_path / "run",
        members={"small": Detector(6, version), "big": Detector(9, version)},
        task=ensemble.task,
    )
    assert again.evaluate(squares()) == scores
    found = ensemble.predict(squares()[0])
    assert found["boxes"].shape == (24, 100, 4)


def test_detectors_that_do_not_fit_each_other_or_the_cost_are_refused():
    both = {"a": Detector(4), "b": Detector(4, classes=3)}
    with pytest.raises(UsageError, match="members a and b have different heads"):
        concord.Ensemble(both, task="detect").fit(squares(), epochs=1)
    with pytest.raises(UsageError, match="member a: a detector has the attributes version"):
        concord.Ensemble({"a": nn.Conv2d(3, 7, 3)}, task="detect").fit(squares(), epochs=1)
    with pytest.raises(UsageError, match=r"pictures \(B, C, H, W\), got shape"):
        concord.Ensemble({"a": Detector(4)}, task="detect").fit((torch.zeros(9, 3), squares(9)[1]), epochs=1)
    first = {"a": Detector(4, 1), "b": Detector(4, 1)}
    with pytest.raises(UsageError, match=r"'kl' needs logits of classes, which .* use l2 or l1"):
        concord.Ensemble(first, consensus="kl", weight=0.1, task="detect").fit(squares(), epochs=1)
    second = {"a": Detector(4), "b": Detector(4)}
    concord.Ensemble(second, consensus="kl", weight=0.1, task="detect").fit(squares(), epochs=1)


def test_the_consensus_pulls_a_recurrent_and_a_convolutional_member_together():
    apart = {}
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        members, data, _ = language()
        ensemble = concord.Ensemble(members, consensus="l2", weight=weight, task="language")
        ensemble.fit(data, valid=None, epochs=4, batch_size=8)
        x, y = data
        there = y >= 0
        one, other = (net.eval()(*x)[there] for net in members.values())
        apart[weight] = (one - other).square().mean().item()
    assert apart[10.0] < apart[0.0] / 2


def test_other_names_and_outputs_are_refused():
    with pytest.raises(UsageError, match=r"task is \"classify\", .* got 'segmen' \(did you mean 'segment'"):
        concord.Ensemble([nn.Linear(2, 3)], task="segmen")
    x, y = torch.randn(12, 5, 2), torch.zeros(12, 5, dtype=torch.int64)
    with pytest.raises(UsageError, match=r"must give logits \(B, T, K\), got"):
        concord.Ensemble([gru(2, 3, hidden=4)], task="segments").fit((x, y), epochs=1)
    with pytest.raises(UsageError, match=r"must give logits \(B, K, H, W\), got shape \(2, 3\)"):
        concord.Ensemble([nn.Linear(2, 3)], task="segment").fit((torch.randn(12, 2), y), epochs=1)
    x, y = pictures(12, 8, 8)
    with pytest.raises(UsageError, match=r"from 0 to 1, .* got 0 to 255; divide a mask of 0 and 255 by 255"):
        concord.Ensemble([unet(width=2, depth=1, same=1)], task="segment").fit((x, 255 * y), epochs=1)


def test_networks_without_padding_train_on_crops_and_predict_whole_pictures():
    torch.manual_seed(0)
    members = [Tiled(unet(width=8, depth=1, norm=1, dropout=0), largest=40) for _ in range(2)]
    ensemble = concord.Ensemble(members, consensus="l2", weight=0.1, task="segment")
    data, adam = pictures(60, 30, 24), concord.Adam(lr=0.01)
    ensemble.fit(data, valid=None, epochs=6, batch_size=4, optimizer=adam)
    x, y = pictures(3, 45, 17)
    assert ensemble.predict(x).shape == (3, 2, 45, 17)
    scores = ensemble.evaluate((x, y))
    assert scores.ensemble.error < 0.15
    assert scores.ensemble.error == pytest.approx((ensemble.predict(x).argmax(1) != y).float().mean().item())


def test_classes_that_data_name_are_those_of_the_task():
    class Named(torch.utils.data.Dataset):
        classes = ("cell", "membrane", "outside")

        def __len__(self):
            return 12

        def __getitem__(self, i):
            x, y = pictures(12, 8, 8)
            return x[i], y[i]

    three = concord.Ensemble([unet(classes=3, width=2, depth=1, same=1)], task="segment")
    three.fit(Named(), valid=None, epochs=1)
    assert three.task == Segment(3)
    two = concord.Ensemble([unet(classes=2, width=2, depth=1, same=1)], task="segment")
    with pytest.raises(UsageError, match=r"logits \(2, 3, H, W\)"):
        two.fit(Named(), valid=None, epochs=1)
