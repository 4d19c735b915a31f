"""The multi-modal DenseNet: counts by hand, both branches computed another way, padding, training on both."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import DenseNet

from concord.consensus.costs import l2
from concord.consensus.edges import shape
from concord.consensus.objective import pairwise
from concord.data.batches import Normalise
from concord.data.images import digits
from concord.data.images.instructions import VOCABULARY, in_order, instructed, shuffled, wordings
from concord.errors import ShapeError, UsageError
from concord.tasks.classify import Classify
from concord.training import evaluate
from concord.training.batch import Batch
from concord.training.cohort import Cohort
from concord.training.loop import train
from concord.zoo.multimodal_densenet import multimodal_densenet

TINY = {"growth": 4, "layers": 2, "blocks": 3, "hidden": 16}


def size(part):
    return sum(p.numel() for p in part.parameters())


def shaken(**sizes):
    """A network in float64 with every number of its state random but those of padding, which stay zero."""
    torch.manual_seed(0)
    network = multimodal_densenet(**sizes).double()
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            tensor.copy_(noise.abs() + 0.5 if name.endswith("var") else tensor + 0.3 * noise)
    with torch.no_grad():
        network.embedding.weight[0] = 0
    return network


def batch(rows=3, length=12, side=14):
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(rows, 1, side, side, generator=generator, dtype=torch.float64)
    return image, torch.randint(1, VOCABULARY, (rows, length), generator=generator)


def fusion_input(network, image, text):
    """What the last normalisation is given: image features, then text features. Shape: (B, 2D)"""
    kept = []
    hook = network.norm.register_forward_hook(lambda module, args, output: kept.append(args[0]))
    network(image, text)
    hook.remove()
    return kept[0]


def test_a_picture_without_its_text_is_refused_with_where_the_network_is_trained():
    image, _ = batch()
    with pytest.raises(
        ShapeError, match=r"expected a picture and a text, .* tools/train_multimodal\.py does"
    ):
        shaken(**TINY)(image)


# --- counts -------------------------------------------------------------------


def test_parts_by_hand():
    network = multimodal_densenet()
    assert (size(network.stem), size(network.embedding)) == (216, 672)
    transitions, over_picture, over_text = [1_920, 2_310], [21_240, 22_140, 22_590], [10_872, 11_772, 12_222]
    for branch, blocks in ((network.image, over_picture), (network.text, over_text)):
        sizes = [size(layer) for layer in branch.layers]
        assert [sizes[3], sizes[7]] == transitions
        assert [sum(sizes[i : i + 3]) for i in (0, 4, 8)] == blocks
        assert (len(sizes), size(branch.norm)) == (11, 138)
    assert (size(network.norm), size(network.fusion), size(network.head)) == (276, 35_584, 2_570)
    assert size(network) == 148_890


def test_sizes_change_what_they_say():
    network = multimodal_densenet(3, 7, vocabulary=50, growth=6, layers=2, blocks=2, hidden=20, dropout=25)
    assert network.stem.weight.shape == (12, 3, 3, 3)
    assert network.embedding.weight.shape == (50, 12)
    assert [len(branch.layers) for branch in (network.image, network.text)] == [5, 5]
    assert network.fusion.weight.shape == (20, 2 * 24)  # 12 -> 24, halved to 12 -> 24
    assert network.head.weight.shape == (7, 20)
    assert network.dropout.p == 0.25


def test_kernels_have_the_start_of_he():
    torch.manual_seed(0)
    network = multimodal_densenet(growth=32)
    for branch, dimensions in ((network.image, 2), (network.text, 1)):
        kernel = branch.layers[0].conv2.weight
        assert kernel.std().item() == pytest.approx((2 / (128 * 3**dimensions)) ** 0.5, rel=0.05)


# --- another way to compute it ------------------------------------------------


def text_features(network, text, layers, training):
    """The text branch with functions alone. An odd length gets a zero behind it before it is halved."""
    state = {k: v.clone() for k, v in network.text.state_dict().items()}

    def activated(name, x):
        parts = [state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts, training=training).clamp(min=0)

    x = network.embedding.weight[text].permute(0, 2, 1)
    number = 0
    for block in range(3):
        if block:
            y = F.conv1d(activated(f"layers.{number}.norm", x), state[f"layers.{number}.conv.weight"])
            y = F.pad(y, (0, y.shape[2] % 2))
            x = (y[..., ::2] + y[..., 1::2]) / 2
            number += 1
        maps = [x]
        for _ in range(layers):
            name = f"layers.{number}"
            y = F.conv1d(activated(f"{name}.norm1", torch.cat(maps, 1)), state[f"{name}.conv1.weight"])
            maps.append(F.conv1d(activated(f"{name}.norm2", y), state[f"{name}.conv2.weight"], padding=1))
            number += 1
        x = torch.cat(maps, 1)
    return activated("norm", x).max(2).values


def image_features(network, image, layers, growth, training):
    """torchvision's DenseNet with this network's weights; only the first convolution is put in its place."""
    other = DenseNet(growth, (layers,) * 3, 2 * growth, num_classes=1).double()
    for name in ("norm0", "relu0", "pool0"):
        setattr(other.features, name, nn.Identity())
    other.features.conv0 = network.stem
    trunk = [part for name, part in other.features.named_children() if name != "conv0"]
    for kind in ("parameters", "buffers"):
        ours = list(getattr(network.image, kind)())
        theirs = [tensor for part in trunk for tensor in getattr(part, kind)()]
        for value, place in zip(ours, theirs, strict=True):
            place.data.copy_(value.data)
    return other.train(training).features(image).relu().mean((2, 3))


# In training the padding behind 11 tokens is counted in the statistics, which the functions never see.
@pytest.mark.parametrize(("training", "length"), [(True, 12), (False, 12), (False, 11), (False, 9)])
def test_output_is_that_of_torchvisions_branch_and_a_branch_of_functions(training, length):
    network = shaken(growth=4, layers=2, hidden=16).train(training)
    image, text = batch(length=length)
    parts = [
        image_features(network, image, 2, 4, training),
        text_features(network, text, 2, training),
    ]
    norm = network.norm
    y = F.batch_norm(
        torch.cat(parts, 1),
        norm.running_mean.clone(),
        norm.running_var.clone(),
        norm.weight,
        norm.bias,
        training=training,
    )
    y = F.linear(y, network.fusion.weight, network.fusion.bias).clamp(min=0)
    expected = F.linear(y, network.head.weight, network.head.bias)
    torch.testing.assert_close(network(image, text), expected, rtol=1e-9, atol=1e-9)


def test_gradients_match_finite_differences():
    network = shaken(growth=1, layers=1, blocks=2, hidden=3).eval()
    image, text = batch(rows=2, length=3, side=4)
    free = [image.requires_grad_(), network.embedding.weight[1:].detach().requires_grad_()]

    def output(image, rows):
        table = torch.cat([rows.new_zeros(1, rows.shape[1]), rows])
        return torch.func.functional_call(network, {"embedding.weight": table}, (image, text))

    assert torch.autograd.gradcheck(output, free)


def test_dropout_is_for_training_alone():
    network = shaken(**TINY, dropout=50)
    image, text = batch()
    features = [network.eval()(image, text) for _ in range(2)]
    assert torch.equal(*features)
    assert not torch.equal(*(network.train()(image, text) for _ in range(2)))


# --- words --------------------------------------------------------------------


def test_names_of_tokens_do_not_matter():
    network, other = shaken(**TINY).eval(), shaken(**TINY).eval()
    image, text = batch()
    order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(VOCABULARY - 1)])
    with torch.no_grad():
        other.embedding.weight[order] = network.embedding.weight
    torch.testing.assert_close(other(image, order[text]), network(image, text), rtol=0, atol=0)


def test_the_order_of_tokens_matters():
    network = shaken(**TINY).eval()
    image, text = batch()
    assert (network(image, text) - network(image, text.flip(1))).abs().max() > 1e-3


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 11])
@pytest.mark.parametrize("more", [1, 2, 6, 37])
def test_padding_changes_nothing_however_much(length, more):
    network = shaken(**TINY).eval()
    image, text = batch(length=length)
    padded = F.pad(text, (0, more))
    torch.testing.assert_close(network(image, padded), network(image, text), rtol=1e-12, atol=1e-12)


def test_a_text_of_padding_alone_has_no_features():
    network = shaken(**TINY).eval()
    image, text = batch()
    features = fusion_input(network, image, torch.zeros_like(text))
    half = features.shape[1] // 2
    assert torch.equal(features[:, half:], torch.zeros_like(features[:, half:]))
    assert torch.equal(features[:, :half], fusion_input(network, image, text)[:, :half])


def test_padding_learns_nothing():
    network = multimodal_densenet(**TINY)
    image, text = batch()
    text[:, 7:] = 0
    network(image.float(), text).square().sum().backward()
    assert not network.embedding.weight.grad[0].any()
    assert network.embedding.weight.grad[text[0, 0]].any()


# --- what is refused ----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (torch.ones(3, dtype=torch.int64), r"expected \(B, T\) int64 as the text, got \(3,\) torch.int64"),
        (torch.ones(3, 0, dtype=torch.int64), r"\(B, T\) int64 as the text, got \(3, 0\)"),
        (torch.ones(3, 4), r"\(B, T\) int64 as the text, got \(3, 4\) torch.float32"),
        (torch.ones(2, 4, dtype=torch.int64), "expected one text for each of 3 pictures, got 2"),
        (torch.tensor([[1, 2]] * 2 + [[3, 28]]), r"id 28 is outside the vocabulary of 28 \(ids 0 to 27"),
        (torch.tensor([[1, 2]] * 2 + [[-1, 3]]), "id -1 is outside .* vocabulary=N builds"),
    ],
)
def test_wrong_texts_are_refused(text, message):
    with pytest.raises(ShapeError, match=message):
        multimodal_densenet(**TINY)(torch.zeros(3, 1, 8, 8), text)


@pytest.mark.parametrize(("blocks", "smallest"), [(1, 1), (2, 3), (3, 7)])
def test_a_picture_that_is_too_small_is_refused_with_the_smallest_side(blocks, smallest):
    network = multimodal_densenet(**TINY | {"blocks": blocks}).eval()
    text = torch.ones(1, 4, dtype=torch.int64)
    assert network(torch.zeros(1, 1, smallest, smallest), text).shape == (1, 10)
    if smallest > 1:
        with pytest.raises(ShapeError, match=rf"at least {smallest}, got {smallest - 1}x{smallest}"):
            network(torch.zeros(1, 1, smallest - 1, smallest), text)


def test_wrong_pictures_are_refused():
    text = torch.ones(3, 4, dtype=torch.int64)
    with pytest.raises(ShapeError, match=r"expected \(B, 1, H, W\), got \(3, 2, 8, 8\)"):
        multimodal_densenet(**TINY)(torch.zeros(3, 2, 8, 8), text)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"growth": 0}, "growth, layers, blocks and hidden must be at least 1"),
        ({"vocabulary": 1}, "vocabulary must be at least 2, id 0 being padding, got 1"),
        ({"dropout": 100}, "percentage from 0 to 99, got 100"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(UsageError, match=message):
        multimodal_densenet(**sizes)


# --- training -----------------------------------------------------------------


def both(image, text):
    return image, text


def picture_only(image, text):
    return image, torch.zeros_like(text)


def text_only(image, text):
    return torch.zeros_like(image), text


def test_only_who_sees_picture_and_text_learns_the_task():
    # Digits 0 to 4 with "add ..." or "plus ...", all shifts equally often. What can be known from the picture
    # alone: nothing, ln 10 = 2.3; from the text alone: one of five labels, ln 5 = 1.6.
    images = digits.parts().train
    images = images.subset(torch.nonzero(images.labels < 5).flatten())
    few, others = images.subset(torch.arange(384)), images.subset(torch.arange(384, len(images)))
    known = [one for one in wordings() if one.text.split()[0] in ("add", "plus")]
    normalise, task = Normalise.of(few), Classify(10)
    views = [both, picture_only, text_only]
    torch.manual_seed(0)
    members = [multimodal_densenet(growth=6, layers=1, hidden=128) for _ in views]

    def batches():
        for epoch in range(12):
            data = instructed(few, known, seed=0, epoch=epoch)
            for pair, y in shuffled(data, normalise, batch_size=64, seed=0, epoch=epoch):
                yield Batch(tuple(view(*pair) for view in views), (y,))

    optimizer = torch.optim.Adam([p for one in members for p in one.parameters()], 0.01)
    named = {view.__name__: member for view, member in zip(views, members, strict=True)}
    bound = Cohort(named, task, pairwise(l2), shape("chain", 3))
    losses = torch.stack([step.losses for step in train(bound, batches(), optimizer)])
    fused, picture, text = losses[-10:].mean(0).tolist()
    assert fused < 0.5 * losses[:5, 0].mean()
    assert fused < 1 < 1.5 < text < 2.2 < picture

    data = instructed(others, known, seed=1)
    for member, view, best, worst in zip(members, views, (0, 0.8, 0.7), (0.4, 1, 0.9), strict=True):
        samples = ((view(*pair), y) for pair, y in in_order(data, normalise))
        scores = task.scores(evaluate.evaluate({"member": member}, samples, task).tally, ["member"])
        assert best <= scores.ensemble.error <= worst
