"""Tensors that no training can take are refused by member and name, before it."""

import pytest
import torch
from torch import nn

import concord
from concord.errors import UsageError
from concord.tasks.classify import Classify
from concord.training.dense import refuse_tensors
from concord.training.optim import Adam, Sgd
from concord.training.trial import try_training

HELD = {
    "sparse (torch.sparse_coo)": lambda: torch.eye(3).to_sparse(),
    "sparse (torch.sparse_csr)": lambda: torch.eye(3).to_sparse_csr(),
    "quantized (torch.qint8)": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
}


class Answering(nn.Linear):
    def __init__(self, change):
        super().__init__(4, 3)
        self.change = change

    def forward(self, x):
        return self.change(super().forward(x)) if self.training else super().forward(x)


def tried(member, **settings):
    try_training("a", member, torch.ones(2, 4), torch.tensor([0, 1]), Classify(3), **settings)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("kind", HELD)
def test_a_buffer_that_is_not_dense_is_refused(kind, persistent):
    member = nn.Linear(4, 3)
    member.register_buffer("mask", HELD[kind](), persistent=persistent)
    data = (torch.randn(8, 4), torch.arange(8) % 3)
    for attempt in (lambda: tried(member), lambda: concord.Ensemble({"a": member}).fit(data, epochs=1)):
        with pytest.raises(UsageError) as caught:
            attempt()
        assert str(caught.value).startswith(f"member 'a': the buffer mask is {kind}")


def test_complex_parameters_are_refused_and_complex_buffers_are_trained():
    member = nn.Linear(4, 3)
    member.register_buffer("waves", torch.ones(3, dtype=torch.complex64))
    tried(member)
    member.phase = nn.Parameter(torch.ones(3, dtype=torch.complex64))
    with pytest.raises(UsageError, match=r"'a': the parameter phase is complex.*view_as_real"):
        tried(member)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda y: y + 0j, "its output is complex"),
        (lambda y: y.to_sparse(), "its output is sparse"),
        (lambda y: y.long(), "torch.int64, and whole numbers have no gradient"),
    ],
)
def test_outputs_without_real_dense_numbers_are_refused(change, words):
    with pytest.raises(UsageError, match=f"'a' .*{words}"):
        tried(Answering(change))


def test_sparse_gradients_are_refused_where_the_optimiser_cannot_take_them():
    class Counts(nn.EmbeddingBag):
        def forward(self, x):
            return super().forward(x.long())

    member = Counts(10, 3, sparse=True, mode="sum")
    tried(member)
    with pytest.raises(UsageError, match=r"'a': the gradient of weight is sparse .*sparse=False"):
        tried(member, dense=True)


# --- views ---------------------------------------------------------------------------


def pair(cut):
    """A layer whose weight is a slice of a larger tensor, and the same with memory of its own."""
    torch.manual_seed(0)
    big = torch.randn(12, 20)
    weights = [nn.Parameter(cut(big)), nn.Parameter(cut(big).clone())]
    nets = [nn.Linear(weight.shape[1], weight.shape[0], bias=False) for weight in weights]
    for net, weight in zip(nets, weights, strict=True):
        net.weight = weight
    return big, nets


CUTS = {"columns": lambda big: big[:, :7], "rows": lambda big: big[::2], "turned": lambda big: big.t()}


@pytest.mark.parametrize("kind", [Adam(lr=0.01), Sgd(lr=0.001)], ids=["adam", "sgd"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_slice_learns_as_its_copy_does_and_nothing_is_written_beside_it(cut, kind):
    big, nets = pair(CUTS[cut])
    before = big.clone()
    made = [kind({"a": net}) for net in nets]
    for seed in range(3):
        x = torch.randn(5, nets[0].in_features, generator=torch.Generator().manual_seed(seed))
        for net, optimizer in zip(nets, made, strict=True):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(nets[0].weight, nets[1].weight, rtol=1e-4, atol=1e-5)
    CUTS[cut](big).fill_(0)  # what is left is memory that belongs to nobody in the training
    CUTS[cut](before).fill_(0)
    assert torch.equal(big, before)


def test_a_view_that_shares_its_numbers_and_tensors_of_inference_are_refused_by_name():
    net = nn.Linear(4, 3)
    net.weight = nn.Parameter(torch.randn(1, 4).expand(3, 4))
    with pytest.raises(
        UsageError, match=r"the parameter weight is a view in which numbers share memory.*clone"
    ):
        refuse_tensors("a", net)
    with torch.inference_mode():
        net = nn.Linear(4, 3)
    with pytest.raises(UsageError, match=r"the parameter weight is made in inference mode.*outside of torch"):
        refuse_tensors("a", net)
