"""Members whose hooks write to the member that they close over, and members whose state dict leaves out."""

from collections import OrderedDict

import pytest
import torch
from run_made import write_npz
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.data import DataLoader, TensorDataset

import concord
from concord.errors import UsageError
from concord.training.checkpoint import steps

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        inputs = channels * 36 if channels else 4
        self.a, self.b = nn.Linear(inputs, 5), nn.Linear(5, classes)
        self.begin()
    def forward(self, x):
        self.a(x.flatten(1))
        return self.b(self.found())

class Attribute(Net):
    def begin(self):
        self.a.register_forward_hook(lambda module, given, output: setattr(self, "feature", output))
    def found(self):
        return self.feature

class Dict(Net):
    def begin(self):
        self.features = features = {}
        self.a.register_forward_hook(lambda module, given, output: features.update(a=output))
    def found(self):
        return self.features["a"]

class List(Net):
    def begin(self):
        self.features = features = []
        self.a.register_forward_hook(lambda module, given, output: features.append(output))
    def found(self):
        return self.features.pop()

class Plain(Net):
    def begin(self):
        pass
    def forward(self, x):
        return self.b(self.a(x.flatten(1)))

PlainAttribute = PlainDict = PlainList = Plain

class Never(Attribute):
    def found(self):
        if self.training:
            raise RuntimeError("no feature in training mode")
        return self.feature
"""
made: dict[str, type[nn.Module]] = {}
exec(NETS, made)
HOOKED = ["Attribute", "Dict", "List"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hooks")
    (folder / "nets_hooked.py").write_text(NETS)
    write_npz(folder / "data.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        yield folder


def fit(member, *, loader=False):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 4, generator=generator)
    given = (x, x[:, :3].argmax(1))
    data = DataLoader(TensorDataset(*given), batch_size=10) if loader else given
    task = concord.Classify(3) if loader else "classify"
    concord.Ensemble({"m": member}, task=task).fit(data, epochs=1, batch_size=10)


@pytest.mark.parametrize("kind", HOOKED)
def test_a_hook_that_writes_to_its_member_is_trained_as_the_same_layers_without_hooks(kind):
    torch.manual_seed(0)
    hooked = made[kind](0, 3)
    plain = nn.Sequential(OrderedDict(a=nn.Linear(4, 5), b=nn.Linear(5, 3)))
    plain.load_state_dict(hooked.state_dict())
    fit(hooked)
    fit(plain)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(hooked.state_dict()[key], value)


def trained(here, kind):
    out, code = here / kind, f"nets_hooked:{kind}"
    tables = {
        "data": {"source": str(here / "data.npz")},
        "members": [{"name": "m", "network": code}],
        "train": {"epochs": 1, "batch_size": 16, "threads": 1, "precision": "float32"},
    }
    concord.train(tables, out, allow_code=[code])
    return load_file(steps(out / "ckpt")[-1] / "member-m.safetensors")


@pytest.mark.parametrize("kind", HOOKED)
def test_an_own_file_with_such_a_hook_is_trained_as_the_one_without(kind, here):
    plain = trained(here, f"Plain{kind}")
    hooked = trained(here, kind)
    for key, value in plain.items():
        torch.testing.assert_close(hooked[key], value)


def test_a_member_that_fails_as_a_copy_and_as_itself_is_refused_and_left_as_it_was():
    member = made["Never"](0, 3)
    before = {key: value.clone() for key, value in member.state_dict().items()}
    with pytest.raises(UsageError, match=r"'m' failed when it was tried in training mode.*no feature"):
        fit(member)
    assert all(torch.equal(value, before[key]) for key, value in member.state_dict().items())
    assert not hasattr(member, "feature")


class Kept(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)
        self.register_buffer("scratch", torch.ones(3), persistent=False)

    def forward(self, x):
        return self.norm(self.dense(x)) * self.scratch


class Nested(Kept):
    def state_dict(self, *args, **kwargs):
        return {"model": super().state_dict(*args, **kwargs)}


class WithoutBias(Kept):
    def state_dict(self, *args, **kwargs):
        found = super().state_dict(*args, **kwargs)
        found.pop("dense.bias", None)
        return found


class WithoutMean(Kept):
    def state_dict(self, *args, **kwargs):
        found = super().state_dict(*args, **kwargs)
        found.pop("norm.running_mean", None)
        return found


class Renamed(Kept):
    def state_dict(self, *args, **kwargs):
        return {f"model.{key}": value for key, value in super().state_dict(*args, **kwargs).items()}

    def load_state_dict(self, state, *args, **kwargs):
        return super().load_state_dict({k.removeprefix("model."): v for k, v in state.items()})


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.out(self.b(self.a(x)))

    def state_dict(self, *args, **kwargs):  # the name that named_parameters gives is left out
        found = super().state_dict(*args, **kwargs)
        found.pop("a.weight", None)
        return found

    def load_state_dict(self, state, *args, **kwargs):
        return super().load_state_dict(state, strict=False)


@pytest.mark.parametrize("loader", [False, True])
@pytest.mark.parametrize(
    ("kind", "first"),
    [(Nested, "dense.weight"), (WithoutBias, "dense.bias"), (WithoutMean, "norm.running_mean")],
)
def test_a_state_dict_that_leaves_out_what_is_trained_is_refused_by_name(kind, first, loader):
    with pytest.raises(UsageError, match=rf"member 'm': its state_dict\(\) does not hold {first},"):
        fit(kind(), loader=loader)


@pytest.mark.parametrize(
    "build",
    [
        Kept,
        Renamed,
        Tied,
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 3)),
        lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)), nn.Linear(4, 3)),
    ],
)
def test_a_state_dict_that_holds_all_under_other_names_is_trained(build):
    fit(build())
