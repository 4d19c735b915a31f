"""What a page draws of a network unfolded in time is what its outputs really depend on."""

from functools import partial

import networkx
import pytest
import torch
from torch import nn

from concord.layers.recurrent.cell import Cell
from concord.layers.recurrent.heads import Reader
from concord.layers.temporal import TemporalBlock
from concord.report.levels_figure import first_levels, sees
from concord.report.over_time import Reach, reach, stages
from concord.report.unfolded import unfolded
from concord.report.unfolded_figure import times_of
from concord.runs.cost_inputs import own_name, usual_channels, usual_classes
from concord.runs.costs import cost_of
from concord.zoo.build import build

STEPS, AHEAD, BATCH = 6, 2, 8
CHAINS = [
    "rnn(hidden=3)",
    "lstm(hidden=3)",
    "lstm(hidden=3,layers=2)",
    "peephole_lstm(hidden=3)",
    "gru(hidden=3)",
    "gru_before(hidden=3,layers=2)",
    "blstm_segments(hidden=3)",
    "blstm_segments(hidden=3,layers=2)",
    "char_lstm(hidden=4)",
    "char_tcn(width=5,levels=2,embedded=3)",
    "tcn_mnist(width=5,levels=1,kernel=3)",
    "tcn_copy(width=5,levels=2,kernel=2)",
]
FILMS = [
    "convlstm_128_64_64(width=4,ahead=2)",
    "convlstm_pointwise_128_128(width=2,ahead=2)",
    "fc_lstm_2048_2048(width=3,ahead=2)",
]


def chain_of(name, made=build):
    """The network with weights, and the chain that the page draws."""
    own = own_name(name)
    torch.manual_seed(0)
    network = made(name, channels=usual_channels(own), classes=usual_classes(own)).double().eval()
    for parameter in network.parameters():  # of any sign and size: no unit is dead for all samples
        nn.init.normal_(parameter, std=0.5)
    return network, stages(network, cost_of(name).layers)


def run_of(network, drawn, *, films=False):
    """What every row gives, as it is and as a function puts time first; the row where gradients end."""
    found, source, handles = {}, "x", []

    def keep(row, module):
        def hook(_, __, output):
            nonlocal source
            if isinstance(module, nn.Embedding):
                output, source = output.detach().requires_grad_(), row.name
            raw = output[0] if isinstance(output, tuple) else output
            found[row.name] = raw, partial(time_first, row, module)
            return output if isinstance(module, nn.Embedding) else None

        return hook

    for row in drawn.rows:
        if row.kind not in ("input", "output"):
            module = network.get_submodule(row.name)
            handles.append(module.register_forward_hook(keep(row, module)))
    if (symbols := getattr(network, "symbols", None)) is not None:
        x = torch.randint(symbols, (BATCH, STEPS))
    else:
        features = network.features if isinstance(network, Reader) else network.channels
        sides = (64, 64) if films else ()
        x = torch.randn(BATCH, STEPS, features, *sides, dtype=torch.float64).requires_grad_()
        found["x"] = x, swapped
    every = films or len(drawn.rows[-1].steps) > 1
    found["y"] = network(x), swapped if every else lambda y: y[None]
    for handle in handles:
        handle.remove()
    return found, source


def swapped(x):
    return x.transpose(0, 1)


def time_first(row, module, output):
    if isinstance(module, Cell):  # (T, B, H); the backward one has read from the end
        return output.flip(0) if row.side > 0 else output
    if isinstance(module, nn.Conv1d | TemporalBlock):
        return output.permute(2, 0, 1)
    if len(row.steps) == 1:
        return output[None]
    return swapped(output) if output.shape[0] == BATCH else output.unflatten(0, (len(row.steps), -1))


def given_by(found, name):
    raw, order = found[name]
    return order(raw)


def depends(target, source):
    """Steps of the source of which a step of the target has a gradient."""
    raw, order = source
    total = (target * torch.randn_like(target)).sum()
    (slope,) = torch.autograd.grad(total, raw, retain_graph=True, allow_unused=True)
    if slope is None:
        return set()
    return {s for s, part in enumerate(order(slope)) if part.abs().max() > 0}


@pytest.mark.parametrize("name", CHAINS)
def test_a_row_depends_on_a_step_of_another_exactly_where_the_drawing_has_a_path(name):
    network, chain = chain_of(name)
    drawn = unfolded(chain, STEPS)
    found, source = run_of(network, drawn)
    rows = [row for row in drawn.rows if row.name in found]
    assert {row.name for row in rows} == {row.name for row in drawn.rows} - (
        {"x"} if source != "x" else set()
    )
    for below in rows:
        graph = drawn.graph()
        # a gradient by what a row gives leaves out what its own state carries
        graph.remove_edges_from([(a, b) for a, b in graph.edges if a[0] == b[0] == below.name])
        for row in rows:
            if row.height <= below.height:
                continue
            assert len(given_by(found, row.name)) == len(row.steps)
            for t, given in zip(row.steps, given_by(found, row.name), strict=True):
                paths = {s for s in below.steps if networkx.has_path(graph, (below.name, s), (row.name, t))}
                seen = {below.steps[s] for s in depends(given, found[below.name])}
                assert seen == paths, (below.name, row.name, t)


@pytest.mark.parametrize("name", CHAINS)
def test_an_output_depends_on_a_step_of_the_input_exactly_where_the_drawing_has_a_path(name):
    network, chain = chain_of(name)
    drawn = unfolded(chain, STEPS)
    found, source = run_of(network, drawn)
    graph, leaf = drawn.graph(), found[source]
    for t, given in zip(drawn.rows[-1].steps, given_by(found, "y"), strict=True):
        paths = {s for s in range(STEPS) if networkx.has_path(graph, ("x", s), ("y", t))}
        assert depends(given, leaf) == paths
        seen = reach(chain)
        past = t if seen.past is None else seen.past
        future = STEPS if seen.future is None else seen.future
        assert paths == {s for s in range(STEPS) if t - past <= s <= t + future}


@pytest.mark.parametrize("name", FILMS)
def test_a_frame_that_is_drawn_depends_on_every_frame_that_was_read(name):
    network, chain = chain_of(name)
    drawn = unfolded(chain, STEPS, AHEAD)
    found, _ = run_of(network, drawn, films=True)
    graph = drawn.graph()
    for row in drawn.rows[1:]:
        assert len(given_by(found, row.name)) == len(row.steps)
        for t, given in zip(row.steps, given_by(found, row.name), strict=True):
            paths = {s for s in range(STEPS) if networkx.has_path(graph, ("x", s), (row.name, t))}
            assert depends(given, found["x"]) == paths, (row.name, t)
    forecaster = [row.name for row in drawn.rows if row.name.startswith("forecaster.")]
    into_head = {a.source[0] for a in drawn.arrows if a.target == ("head", STEPS)}
    outputs = [found[row][0] for row in forecaster]
    direct = torch.autograd.grad(found["head"][0].sum(), outputs, retain_graph=True, allow_unused=True)
    read = {name for name, slope in zip(forecaster, direct, strict=True) if slope is not None}
    assert into_head == (set(forecaster) if name.startswith("conv") else {forecaster[-1]})
    assert read >= into_head


def test_layers_of_a_forecaster_begin_with_the_states_of_the_encoder_in_reverse_order():
    _, chain = chain_of("convlstm_128_64_64(width=4)")
    copies = [a for a in unfolded(chain, 3).arrows if a.passes == "copy"]
    assert [(a.source, a.target, a.label) for a in copies] == [
        (("encoder.2", 2), ("forecaster.0", 3), "h, c"),
        (("encoder.1", 2), ("forecaster.1", 3), "h, c"),
        (("encoder.0", 2), ("forecaster.2", 3), "h, c"),
    ]


@pytest.mark.parametrize(("name", "carried"), [("lstm", "h, c"), ("gru", "h"), ("rnn", "h")])
def test_what_passes_from_step_to_step_is_named(name, carried):
    _, chain = chain_of(name)
    states = [a for a in unfolded(chain, 4).arrows if a.passes == "state"]
    assert [(a.source[1], a.target[1], a.label) for a in states] == [(t, t + 1, carried) for t in range(3)]


def test_levels_see_as_many_steps_as_the_formula_of_the_paper_says():
    for name in ("tcn_mnist", "tcn_adding", "tcn_copy", "char_tcn"):
        _, chain = chain_of(name)
        kernel = {"tcn_mnist": 7, "tcn_adding": 8, "tcn_copy": 8, "char_tcn": 3}[name]
        expected = [(2**i, 1 + 2 * (kernel - 1) * (2 ** (i + 1) - 1)) for i in range(len(sees(chain)))]
        assert sees(chain) == expected
        assert reach(chain) == Reach(expected[-1][1] - 1, 0)
        assert reach(chain).past + 1 == cost_of(name).receptive_field.size[0]
        shown = first_levels(chain)
        assert (
            shown
            == tuple(stage for stage in chain if stage.path.startswith(shown[0].path[:-1]))[: len(shown)]
        )


def test_networks_that_are_no_chain_over_steps_have_no_drawing():
    for name in ("lenet5", "multimodal_densenet", "resnet20"):
        assert chain_of(name)[1] == ()


def test_steps_are_named_from_the_middle_or_from_both_ends():
    minus = "\N{MINUS SIGN}"
    labels = {name: times_of(unfolded(chain_of(name)[1], n)).labels for name, n in
              (("char_lstm", 3), ("lstm", 4), ("convlstm_256", 3))}  # fmt: skip
    assert labels["char_lstm"] == (f"t{minus}1", "t", "t+1")
    assert labels["lstm"] == ("1", "2", f"T{minus}1", "T")
    assert labels["convlstm_256"] == ("1", "2", "T", "T+1", "T+2")
