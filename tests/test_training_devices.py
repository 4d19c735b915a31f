"""Members on several devices: each computes at home, and they meet on the device of the training."""

import pytest
import torch
from torch import nn
from training_made import member, run, samples, shared_batches, state

import concord
from concord.errors import UsageError
from concord.runs.loading import load_run
from concord.training.devices import forward, home_of

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")


class Elsewhere(nn.Module):
    """Lies on the meta device, where nothing is computed, and notes where its input lay."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, device="meta"))

    def forward(self, x):
        self.seen = x.device.type
        return torch.ones(len(x), 3)


def test_a_sample_goes_to_its_member_and_the_answer_comes_back():
    one, x = Elsewhere(), samples(0)[0]
    assert home_of(one, x) == torch.device("meta")
    assert forward(one, x, torch.float32).device == x.device
    assert one.seen == "meta"


def settings(**member_of):
    pair = [
        {"name": "a", "network": "noel2017_st(filters=4)"},
        {"name": "b", "network": "lenet5"} | member_of,
    ]
    train = {"epochs": 1, "batch_size": 64, "device": "cpu", "precision": "float32", "threads": 1}
    return {"members": pair, "data": {"limit": 128, "size": 28}, "train": train}


def test_a_device_that_is_not_there_is_told_before_anything_is_made(tmp_path):
    with pytest.raises(UsageError, match=r"the device of member b is 'cuda:7', but torch sees"):
        concord.train(settings(device="cuda:7"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_member_at_home_is_as_one_without_a_device(tmp_path):
    named = concord.train(settings(device="cpu"), tmp_path / "named")
    plain = concord.train(settings(), tmp_path / "plain")
    assert named["members"] == plain["members"]
    loaded = load_run(tmp_path / "named")
    assert [m.device for m in loaded.config.members] == [None, None]


@CUDA
def test_members_on_two_devices_train_as_on_one():
    ours, theirs = ([member(seed, width=3 + seed) for seed in range(2)] for _ in range(2))
    ours[1].to("cuda")
    run(ours, shared_batches(4))
    run(theirs, shared_batches(4))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(state(one.cpu()), state(other), rtol=1e-3, atol=1e-5)


@CUDA
@pytest.mark.parametrize("alternating", [False, True])
def test_what_an_update_tells_is_on_the_cpu(alternating):
    members = [member(seed).to("cuda") for seed in range(2)]
    batches = [
        b._replace(inputs=(b.inputs[0].cuda(),), targets=(b.targets[0].cuda(),)) for b in shared_batches(2)
    ]
    for step in run(members, batches, alternating=alternating):
        told = (step.losses, step.consensus, *step.outputs, *step.targets)
        assert {tensor.device.type for tensor in told} == {"cpu"}
        assert step.targets[0] is step.targets[1]


@CUDA
@pytest.mark.parametrize("home", ["cpu", "cuda"])
def test_a_run_on_two_devices_resumes_bit_for_bit_and_is_read_on_one(home, tmp_path):
    from safetensors.torch import load_file

    from concord.errors import StoppedError

    wanted = settings(device={"cpu": "cuda", "cuda": "cpu"}[home])
    wanted["train"]["device"] = home
    polls = iter(range(10**6))
    with pytest.raises(StoppedError):
        concord.train(wanted, tmp_path / "cut", stop=lambda: next(polls) == 2)
    concord.resume(tmp_path / "cut")
    concord.train(wanted, tmp_path / "whole")
    for name in "ab":
        cut, whole = (
            load_file(max((tmp_path / run).glob("ckpt/step-*")) / f"member-{name}.safetensors")
            for run in ("cut", "whole")
        )
        assert all(torch.equal(cut[k], whole[k]) for k in whole)
    assert {p.device.type for m in load_run(tmp_path / "whole").members.values() for p in m.parameters()} == {
        home
    }
