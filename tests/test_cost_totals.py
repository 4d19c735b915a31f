"""What is said about whole networks, of one and side by side."""

from cost_made import cells, priced
from torch import nn

from concord.cost.count import count
from concord.report.cost_tables import share, strides
from concord.report.cost_totals import comparison, joules, linear_parameters, size_of, totals
from concord.report.cost_worked import worked_answer

# --- figures of the whole -----------------------------------------------------------------


def test_totals_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    said = dict(totals(priced(network, (3, 8, 8))))
    assert said == {
        "parameters": "120, and 9 values in buffers",
        "size with buffers": "516 B at 32, 258 B at 16, 129 B at 8, 17 B at 1 bits each",
        "MACs": "3,888 (7,776 FLOPs, at two for each)",
        "other operations": "432",
        "activations": "288 elements, at most 480 alive at once",
        # 3,888 · 4.6 pJ + 432 · 0.9 pJ = 18.3 nJ, and 129 + 2 · 288 numbers of 0.65 or 1.3 nJ
        "energy": "477 nJ to 935 nJ: an estimate (45 nm, every weight and map through DRAM)",
        "receptive field": "3x3, stride 1, start 1, up to 1, BatchNorm2d",
    }


def test_the_start_of_a_field_is_told_for_each_side():
    network = nn.Sequential(nn.Conv2d(3, 4, (3, 4), 2, (1, 0)))
    assert dict(totals(priced(network, (3, 8, 8))))["receptive field"].startswith(
        "3x4, stride 2, start 0x1.5, "
    )
    network = nn.ConvTranspose2d(3, 4, (1, 2), (2, 1), (1, 0))  # the first row sees nothing
    assert dict(totals(priced(network, (3, 8, 8))))["receptive field"].startswith(
        "1x2, stride 0.5x1, start -x-0.5"
    )


class Sorted(nn.Module):
    def forward(self, x):
        return x.sort().values if x.sum() < 9 else x


ON_ZEROS = (
    "by running the network on the cpu, with zeros where only sizes were given: it cannot run without "
    "numbers, and other numbers may give other figures"
)
NO_RULE = "sort: concord has no rule for these, and the totals leave them out"


def test_whatever_is_said_of_a_network_says_what_was_not_counted_and_where():
    one, two = priced(Sorted(), (4,), name="A"), priced(nn.Linear(4, 2), (4,), name="B")
    said = dict(totals(one))
    assert (said["counted"], said["not counted"]) == (ON_ZEROS, NO_RULE)
    assert said["receptive field"].startswith("none")
    assert comparison([one, two]).notes[1:] == (f"A: counted {ON_ZEROS}.", f"A: not counted {NO_RULE}.")
    assert comparison([two, one]).notes[1:] == comparison([one, two]).notes[1:]
    assert worked_answer(one)[-2:] == [f"counted          {ON_ZEROS}", f"not counted      {NO_RULE}"]
    assert len(worked_answer(two)) == len([line for line in worked_answer(two) if "counted" not in line])


def test_sizes_shares_and_strides():
    assert [size_of(n) for n in (0, 999, 1000, 46_796_528, 2.5e9)] == [
        "0 B",
        "999 B",
        "1.00 kB",
        "46.80 MB",
        "2.50 GB",
    ]
    assert (share(1, 3), share(0, 0)) == ("33.33", "-")
    assert (strides([2.0, 2.0]), strides([0.5, 1.0])) == ("2", "0.5x1")


# --- side by side ---------------------------------------------------------------------------


def test_comparison_by_hand():
    one = priced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)), (3, 8, 8), name="A")
    two = priced(nn.Conv2d(3, 8, 3, bias=False), (3, 10, 8), name="B")
    table = comparison([one, two])
    assert cells(table) == [
        ["A", "3x8x8", "402", "1.0000", "72.14", "4,176", "1.0000", "146", "338", "3x3"],
        ["B", "3x10x8", "216", "0.5373", "0.00", "10,368", "2.4828", "0", "624", "3x3"],
    ]
    assert table.notes[0].startswith("Ratios are to A")


def test_nothing_is_divided_by_nothing():
    table = comparison([priced(nn.ReLU(), (4,)), priced(nn.Linear(4, 2), (4,))])
    assert [row[3] for row in cells(table)] == ["-", "-"]
    assert cells(table)[0][-1] == "-"


def test_functional_linear_layers_are_linear_layers():
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    cost = count(attention, (5, 8))
    assert linear_parameters(cost) == cost.parameters - 4 * 8  # all but two normalisations


def test_energy_is_written_in_the_largest_unit_that_leaves_a_number_above_one():
    amounts = {2.5: "2.5 J", 1.0: "1 J", 0.0123: "12.3 mJ", 0.001: "1 mJ", 0.0005: "500 µJ", 3e-9: "3 nJ"}
    assert {number: joules(number) for number in amounts} == amounts


def test_the_share_of_linear_layers_is_of_each_network_s_own_parameters():
    mixed = nn.Sequential(
        nn.Conv1d(1, 4, 2, bias=False), nn.Flatten(), nn.Linear(12, 1, bias=False)
    )  # 8 and 12
    alone = nn.Sequential(nn.Flatten(), nn.Linear(4, 9, bias=False))
    table = comparison([priced(mixed, (1, 4)), priced(alone, (1, 4))])
    column = table.header.index("linear %")
    assert [row[column] for row in cells(table)] == ["60.00", "100.00"]


def test_the_field_of_the_second_input_names_that_input():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv1d(1, 1, 3), nn.Conv1d(1, 1, 5)

        def forward(self, x, y):
            return self.one(x).mean() + self.two(y).mean()

    lines = [text for name, text in totals(priced(Two(), (1, 7), (1, 9))) if name == "receptive field"]
    assert [(text.split(",")[0], text.split()[-1]) for text in lines] == [("3", "1x7"), ("5", "1x9")]
