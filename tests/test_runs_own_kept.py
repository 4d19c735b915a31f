"""What a user's members draw, change and hold while they are trained: kept, refused in time, or said."""

import sys
from random import SystemRandom

import pytest
import torch
from run_made import Noted, after, write_npz
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import TensorDataset

import concord
from concord.errors import CheckpointError, StoppedError, UsageError
from concord.training.checkpoint import steps

LATER = """
import os, sys
import numpy as np
import torch
from torch import nn

IMPORTED = np.random.default_rng().permutation(36)[:10]
SEEDED = np.random.permutation(36)[:10]

class Wired(nn.Module):
    def __init__(self, channels, classes, chosen=None):
        super().__init__()
        self.chosen = torch.from_numpy(IMPORTED if chosen is None else chosen)
        self.dense, self.passes = nn.Linear(10, classes), 0
    def forward(self, x):
        self.passes += self.training
        return self.dense(x.flatten(1)[:, self.chosen])

def seeded(channels, classes):
    return Wired(channels, classes, SEEDED)

class Unfreezing(Wired):
    def __init__(self, channels, classes):
        super().__init__(channels, classes, np.arange(10))
        self.dense.weight.requires_grad_(False)
    def forward(self, x):
        if self.passes == 4:
            self.dense.weight.requires_grad_(True)
        return super().forward(x)

class Chance(Wired):
    def forward(self, x):
        y = super().forward(x)
        return y * (1 + os.urandom(1)[0]) if self.training else y

class Held(Wired):
    def __init__(self, channels, classes):
        super().__init__(channels, classes, np.arange(10))
        self.dice = np.random.default_rng()
    def forward(self, x):
        return super().forward(x) * (1 + self.dice.random() if self.training else 1)

class Stochastic(Wired):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.5, True)

class Branching(Wired):
    def forward(self, x):
        y = super().forward(x)
        return 2 * y if y.sum() > 0 else y

class Leaving(Wired):
    def forward(self, x):
        if torch.compiler.is_exporting():
            sys.exit("not this one")
        return super().forward(x)

class Extra(Wired):
    def get_extra_state(self):
        if self.passes > 5:
            sys.exit(3)
        return {"passes": self.passes}
    def set_extra_state(self, state):
        pass

class Odd(Extra):
    def get_extra_state(self):
        return {"passes": object() if self.passes > 5 else 0}

class Uncounted(Wired):
    def forward(self, x):
        if len(x) == 1:
            raise ValueError("one is too few")
        return super().forward(x)
"""


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    folder = tmp_path_factory.mktemp("later")
    (folder / "nets_made_later.py").write_text(LATER)
    write_npz(folder / "data.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        yield folder


def train_later(folder, out, name, **settings):
    tables = {
        "data": {"source": str(folder / "data.npz")},
        "members": [{"name": "a", "network": f"nets_made_later:{name}"}],
        "train": {"epochs": 2, "batch_size": 16, "threads": 1, "precision": "float32"},
    }
    return concord.train(tables, out, allow_code=[f"nets_made_later:{name}"], **settings)


def weights(out, name):
    return load_file(steps(out / "ckpt")[-1] / f"member-{name}.safetensors")


def imported_again(monkeypatch):
    """As another process has it."""
    monkeypatch.delitem(sys.modules, "nets_made_later")


def test_wiring_that_was_drawn_at_import_is_told_when_another_process_reads_the_run(
    later, tmp_path, monkeypatch
):
    out, code = tmp_path / "run", ["nets_made_later:Wired"]
    train_later(later, out, "Wired")
    assert concord.evaluate(out, allow_code=code).samples == 15
    imported_again(monkeypatch)
    for read in (
        lambda: concord.evaluate(out, allow_code=code),
        lambda: concord.export(out, tmp_path / "a.safetensors", member="a", allow_code=code),
    ):
        with pytest.raises(CheckpointError, match="member 'a' answers otherwise than when it was saved"):
            read()


def test_a_resume_with_other_wiring_is_refused_or_allowed(later, tmp_path, monkeypatch):
    out, code = tmp_path / "run", ["nets_made_later:Wired"]
    with pytest.raises(StoppedError):
        train_later(later, out, "Wired", stop=after(4))
    imported_again(monkeypatch)
    with pytest.raises(CheckpointError, match=r"answers otherwise .*--allow-changes"):
        concord.resume(out, allow_code=code)
    noted = Noted()
    result = concord.resume(out, allow_code=code, allow_changes=True, observer=noted).result
    assert any("member 'a' answers otherwise" in text for text in noted.notices)
    assert concord.evaluate(out, allow_code=code).members["a"].nll == result.members["a"].nll


def test_what_an_import_draws_from_a_seeded_source_is_drawn_alike(later, tmp_path, monkeypatch):
    imported_again(monkeypatch)
    result = train_later(later, tmp_path / "run", "seeded").result
    imported_again(monkeypatch)
    (tmp_path / "run" / "predictions.safetensors").unlink()
    again = concord.evaluate(tmp_path / "run", allow_code=["nets_made_later:seeded"])
    assert again.members["a"].nll == result.members["a"].nll


def test_a_parameter_that_is_set_free_learns_and_resumes_exactly(later, tmp_path):
    train_later(later, tmp_path / "whole", "Unfreezing")
    for updates in (3, 6):
        out = tmp_path / f"parts{updates}"
        with pytest.raises(StoppedError):
            train_later(later, out, "Unfreezing", stop=after(updates))
        before = weights(out, "a")
        concord.resume(out, allow_code=["nets_made_later:Unfreezing"])
        one, other = weights(out, "a"), weights(tmp_path / "whole", "a")
        assert not torch.equal(one["dense.weight"], before["dense.weight"])
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Chance", "differs between two training passes with the same weights and seeds"),
        ("Held", "was built twice from the same seed, and the two differ in a training pass"),
        ("Stochastic", "draws random numbers in evaluation mode"),
        (
            "Branching",
            "not be exported as .onnx or .pt2: its forward pass branches on the values of a tensor",
        ),
    ],
)
def test_chance_and_what_cannot_be_exported_are_said_before_the_first_update(name, words, later, tmp_path):
    noted = Noted()
    with pytest.raises(StoppedError):
        train_later(later, tmp_path / "run", name, observer=noted, stop=lambda: True)
    (sentence,) = [text for text in noted.notices if "member 'a'" in text]
    assert words in sentence


@pytest.mark.parametrize(("name", "words"), [("Extra", "SystemExit: 3"), ("Odd", "gives a object")])
def test_extra_state_that_fails_while_it_trains_names_the_moment_and_leaves_the_last_checkpoint(
    name, words, later, tmp_path
):
    with pytest.raises(
        UsageError,
        match=f"'a' failed when its state was saved after 8 updates.*{words}.*made before are intact",
    ):
        train_later(later, tmp_path / "run", name)
    assert concord.evaluate(tmp_path / "run", allow_code=[f"nets_made_later:{name}"]).samples == 15


def test_a_network_that_ends_the_process_when_it_is_exported_is_one_message(later, tmp_path):
    noted = Noted()
    train_later(later, tmp_path / "run", "Leaving", observer=noted)
    assert any("not be exported as .onnx or .pt2: not this one" in text for text in noted.notices)
    with pytest.raises(UsageError, match=r"member a cannot be exported as \.pt2: not this one"):
        concord.export(
            tmp_path / "run", tmp_path / "a.pt2", member="a", allow_code=["nets_made_later:Leaving"]
        )


def test_a_member_that_cannot_be_counted_is_refused_before_the_first_update(later, tmp_path):
    with pytest.raises(UsageError, match=r"'a': its cost cannot be counted: .*one is too few"):
        train_later(later, tmp_path / "run", "Uncounted")
    assert not (tmp_path / "run").exists()


class Dicing(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)
        self.dice = torch.Generator().manual_seed(0)

    def forward(self, x):
        return super().forward(x) + torch.rand(3, generator=self.dice)


@pytest.mark.parametrize("given", ["tensors", "loader"])
def test_the_trial_before_a_training_draws_nothing_from_the_generators_of_a_member(given):
    member, expected = Dicing(), torch.Generator().manual_seed(0)
    data = (torch.randn(30, 4), torch.arange(30) % 3)
    loader = torch.utils.data.DataLoader(TensorDataset(*data), batch_size=10)
    concord.Ensemble({"a": member}).fit(
        data if given == "tensors" else loader, valid=None, epochs=1, batch_size=10
    )
    passes = 3 + (1 if given == "tensors" else 3)  # the updates, and the test on the same data
    for _ in range(passes):
        torch.rand(3, generator=expected)
    assert torch.equal(member.dice.get_state(), expected.get_state())


def test_a_saved_ensemble_is_not_read_into_modules_that_answer_otherwise(tmp_path):
    class Choosing(nn.Linear):
        def __init__(self, *places):
            super().__init__(2, 3)
            self.places = places

        def forward(self, x):
            return super().forward(x[:, self.places])

    ensemble = concord.Ensemble({"a": Choosing(0, 1)})
    ensemble.fit((torch.randn(30, 4), torch.arange(30) % 3), valid=None, epochs=1)
    ensemble.save(tmp_path / "own")
    assert len(concord.load(tmp_path / "own", members={"a": Choosing(0, 1)})) == 1
    with pytest.raises(CheckpointError, match="'a' answers otherwise"):
        concord.load(tmp_path / "own", members={"a": Choosing(2, 1)})


def test_chance_without_a_seed_is_a_warning_in_python():
    class Chance(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (1 + SystemRandom().random())

    with pytest.warns(RuntimeWarning, match="'a' (answers differently each time|differs between)"):
        concord.Ensemble({"a": Chance(4, 3)}).fit(
            (torch.randn(30, 4), torch.arange(30) % 3), valid=None, epochs=1
        )
