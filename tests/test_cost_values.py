"""What torch refuses because of numbers is refused, though counting has none; and sparse tensors."""

import pytest
import torch
import torch.nn.functional as F
from cost_made import Calls
from torch import nn

from concord.cost.count import count
from concord.errors import ShapeError, UsageError


class Positions(nn.Module):
    """Words and their places, from a table of 10 and one of 5; places are made here or kept in a buffer."""

    def __init__(self, kept):
        super().__init__()
        self.words, self.places = nn.Embedding(10, 4), nn.Embedding(5, 4)
        self.register_buffer("kept", torch.arange(20)[None] if kept else None)

    def forward(self, x):
        length = x.shape[1]
        places = torch.arange(length, device=x.device) if self.kept is None else self.kept[:, :length]
        return self.words(x) + self.places(places)


def ids(*numbers, dtype=torch.int64):
    return torch.tensor([numbers], dtype=dtype)


TABLE, BAG = nn.Embedding(10, 4), nn.EmbeddingBag(10, 4)
BAGS = Calls(lambda n, x, offsets: n.bag(x, offsets), bag=BAG)
# network, what it takes, what it refuses
CASES = {
    "embedding": (TABLE, (ids(0, 9),), (ids(0, 10),)),
    "embedding, negative": (TABLE, (ids(0),), (ids(3, -1),)),
    "embedding of 32 bits": (TABLE, (ids(9, dtype=torch.int32),), (ids(10, dtype=torch.int32),)),
    "embedding of real numbers": (TABLE, (ids(1),), (torch.ones(1, 3),)),
    "embedding of short numbers": (TABLE, (ids(1),), (ids(1, dtype=torch.int16),)),
    "bag": (BAG, (ids(0, 9),), (ids(0, 10),)),
    "bag, negative": (BAG, (ids(0),), (ids(-1),)),
    "bag of real numbers": (BAG, (ids(0),), (torch.ones(1, 3),)),
    "offsets": (BAGS, (ids(1, 2, 3)[0], ids(0, 2)[0]), (ids(1, 2, 3)[0], ids(0, 9)[0])),
    "offsets that begin later": (BAGS, (ids(1, 2)[0], ids(0)[0]), (ids(1, 2)[0], ids(1)[0])),
    "places made of a length": (Positions(kept=False), (ids(1, 2, 3, 4, 5),), (ids(1, 2, 3, 4, 5, 6),)),
    "places in a buffer": (Positions(kept=True), (ids(1, 2, 3, 4, 5),), (ids(1, 2, 3, 4, 5, 6),)),
    "shifted": (Calls(lambda n, x: n.table(x + 1), table=TABLE), (ids(8),), (ids(9),)),
    "shifted in place": (Calls(lambda n, x: n.table(x.add_(1)), table=TABLE), (ids(8),), (ids(9),)),
    "rows": (Calls(lambda n, x, i: x[i[0]]), (torch.rand(3, 2), ids(-3)), (torch.rand(3, 2), ids(3))),
    "columns": (
        Calls(lambda n, x, i: x.index_select(1, i[0])),
        (torch.rand(3, 2), ids(1)),
        (torch.rand(3, 2), ids(2)),
    ),
    "gathered": (
        Calls(lambda n, x, i: x.gather(1, i)),
        (torch.rand(1, 2), ids(1)),
        (torch.rand(1, 2), ids(2)),
    ),
    "convolved": (
        Calls(lambda n, x: n.one(x[..., 3:]), one=nn.ConvTranspose1d(1, 1, 3)),
        (torch.rand(1, 1, 5),),
        (torch.rand(1, 1, 3),),
    ),
    "convolved with padding": (
        Calls(lambda n, x: n.one(x[..., 3:]), one=nn.Conv1d(1, 1, 3, padding=3)),
        (torch.rand(1, 1, 5),),
        (torch.rand(1, 1, 3),),
    ),
    "pooled": (
        Calls(lambda n, x: F.adaptive_avg_pool3d(x[..., 3:], 2)),
        (torch.rand(1, 1, 3, 3, 5),),
        (torch.rand(1, 1, 3, 3, 3),),
    ),
    "resized to nothing": (
        Calls(lambda n, x: F.interpolate(x, scale_factor=0.5, mode="trilinear")),
        (torch.rand(1, 1, 2, 2, 2),),
        (torch.rand(1, 1, 2, 2, 1),),
    ),
    "resized": (
        Calls(lambda n, x: F.interpolate(x[..., 3:, 3:], size=(4, 4), mode="bilinear")),
        (torch.rand(1, 1, 5, 5),),
        (torch.rand(1, 1, 3, 3),),
    ),
}


@pytest.mark.parametrize(("network", "takes", "refuses"), CASES.values(), ids=CASES.keys())
def test_what_torch_refuses_because_of_numbers_is_refused(network, takes, refuses):
    with pytest.raises((RuntimeError, IndexError)):
        network(*(x.clone() for x in refuses))
    with pytest.raises(ShapeError, match="does not take its input"):
        count(network, *(x.clone() for x in refuses))
    kept = [x.clone() for x in takes]
    assert count(network, *takes).device == "meta"
    assert all(map(torch.equal, kept, takes))


def test_a_table_too_large_to_copy_is_checked_without_its_weights():
    with torch.device("meta"):
        table = nn.Embedding(10**12, 512)
    assert count(table, ids(10**12 - 1)).parameters == 512 * 10**12
    with pytest.raises(ShapeError, match="outside of its table"):
        count(table, ids(10**12))


# --- sparse ----------------------------------------------------------------------------------


def graph(adjacency, kind):
    """A layer over a graph whose edges are a buffer, a parameter, an attribute, or made on the way."""
    network = Calls(lambda n, x: n.edges @ n.one(x), one=nn.Linear(3, 3))
    if kind == "buffer":
        network.register_buffer("edges", adjacency)
    elif kind == "parameter":
        network.edges = nn.Parameter(adjacency)
    else:
        network.edges = adjacency
    return network


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
@pytest.mark.parametrize("kind", ["buffer", "parameter", "attribute"])
def test_sparse_tensors_of_a_network_are_refused_in_one_message(layout, kind):
    adjacency = getattr(torch.eye(3), layout)()
    network = graph(adjacency, kind)
    assert network(torch.ones(3, 3)).shape == (3, 3)
    with pytest.raises(UsageError, match=r"only dense tensors can be counted.*shape \(3, 3\).*to_dense"):
        count(network, torch.ones(3, 3))
    assert count(graph(adjacency.to_dense(), kind), torch.ones(3, 3)).macs == 2 * 27


def test_sparse_inputs_and_sparse_maps_are_refused_in_one_message():
    made = Calls(lambda n, x: torch.sparse.mm(torch.eye(3, device=x.device).to_sparse(), x))
    for network, x in ((nn.Linear(3, 3), torch.eye(3).to_sparse()), (made, torch.ones(3, 3))):
        with pytest.raises(
            UsageError, match="only dense tensors can be counted, got one of layout sparse_coo"
        ):
            count(network, x)
