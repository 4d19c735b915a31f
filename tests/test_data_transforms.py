"""Changes from torchvision: drawn for each sample, the same as torchvision's own, without a trace."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from concord.data import draws
from concord.data.images.augment import Augment
from concord.data.images.mix import Mix
from concord.errors import UsageError

ALL = Augment(
    flip=True,
    crop=1,
    resized_crop=0.2,
    policy="rand",
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    erasing=0.5,
)
ORACLES = {
    "resized_crop": (Augment(resized_crop=0.2), v2.RandomResizedCrop([16, 12], (0.2, 1.0))),
    "trivial": (Augment(policy="trivial"), v2.TrivialAugmentWide()),
    "rand": (Augment(policy="rand", operations=3, magnitude=12), v2.RandAugment(3, 12)),
    "colour": (Augment(brightness=0.4, hue=0.2), v2.ColorJitter(0.4, 0.0, 0.0, 0.2)),
    "erasing": (Augment(erasing=0.9), v2.RandomErasing(0.9)),
}


def pictures(n, channels=3):
    numbers = np.random.default_rng(1)
    return torch.from_numpy(numbers.integers(0, 256, (n, channels, 16, 12), dtype=np.uint8))


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_is_what_torchvision_does_from_the_seed_of_the_sample(name, channels):
    augment, oracle = ORACLES[name]
    x, samples = pictures(6, channels), torch.tensor([4, 0, 9, 100, 7, 3])
    found = augment(x, samples, seed=5, epoch=2)
    changed = 0
    for i, start in enumerate(draws.bits(samples.numpy(), name, 5, 2).tolist()):
        torch.manual_seed(start)
        assert torch.equal(found[i], oracle(x[i]))
        changed += not torch.equal(found[i], x[i])
    assert changed >= 3


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)), cut=st.integers(1, 5))
def test_the_batch_a_sample_is_in_changes_nothing(order, cut):
    x, samples = pictures(6), torch.arange(6) * 7
    whole = ALL(x, samples, seed=1, epoch=3)
    order = torch.tensor(order)
    torch.manual_seed(int(order[0]))
    parts = [ALL(x[part], samples[part], seed=1, epoch=3) for part in (order[:cut], order[cut:])]
    assert torch.equal(torch.cat(parts), whole[order])


def test_seed_epoch_and_sample_each_matter():
    x = pictures(1).expand(8, -1, -1, -1)
    samples = torch.arange(8)
    base = ALL(x, samples, seed=1, epoch=1)
    assert len({image.numpy().tobytes() for image in base}) == 8
    assert not torch.equal(ALL(x, samples, seed=2, epoch=1), base)
    assert not torch.equal(ALL(x, samples, seed=1, epoch=2), base)


def test_no_generator_of_the_process_is_moved():
    def states():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = states()
    ALL(pictures(3), torch.arange(3), seed=0, epoch=0)
    Mix(3, mixup=0.3)(
        torch.randn(4, 1, 2, 2, generator=torch.Generator()), torch.arange(4) % 3, 0, seed=0, epoch=0
    )
    assert states() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resized_crop": 1.1}, "resized_crop must be 0 to 1"),
        ({"hue": 0.6}, r"hue must be 0 to 0\.5"),
        ({"erasing": -0.1}, "erasing must be 0 to 1"),
        ({"contrast": float("nan")}, "contrast must be 0 or more"),
        ({"policy": "auto"}, "must be 'trivial' or 'rand'"),
        ({"policy": "trivial", "magnitude": 3}, "need augment.policy = 'rand'"),
        ({"policy": "rand", "operations": 0}, "operations must be 1 or more"),
        ({"policy": "rand", "magnitude": 31}, "magnitude must be 0 to 30"),
    ],
)
def test_what_describes_no_change_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Augment(**options)


# pairs of a batch


def test_mixup_is_a_weighted_mean_of_images_and_of_labels():
    x = torch.arange(4.0).reshape(4, 1, 1, 1)
    mixed, y = Mix(4, mixup=1.0)(x, torch.arange(4), 17, seed=0, epoch=0)
    shares = y[torch.arange(4), torch.arange(4)]
    share = float(shares[0])
    assert 0 < share < 1
    assert shares.tolist() == pytest.approx([share] * 4)
    assert y.sum(1).tolist() == pytest.approx([1.0] * 4)
    expected = [share * i + (1 - share) * ((i - 1) % 4) for i in range(4)]
    assert mixed.flatten().tolist() == pytest.approx(expected)


def test_cutmix_gives_labels_by_area():
    x = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 1, 10, 10).contiguous()
    mixed, y = Mix(3, cutmix=1.0)(x, torch.arange(3), 2, seed=0, epoch=0)
    for i in range(3):
        own = float((mixed[i] == i).float().mean())
        assert float(y[i, i]) == pytest.approx(own)
        assert set(mixed[i].unique().tolist()) <= {float(i), float((i - 1) % 3)}


def test_a_mixed_batch_depends_on_seed_epoch_and_its_first_sample_only():
    x, y, mix = torch.rand(4, 1, 3, 3), torch.arange(4), Mix(4, mixup=0.4, cutmix=1.0)
    first = mix(x, y, 5, seed=1, epoch=2)
    torch.manual_seed(99)
    assert torch.equal(first[0], mix(x, y, 5, seed=1, epoch=2)[0])
    others = [mix(x, y, s, seed=e, epoch=e)[1] for s in range(10) for e in range(3)]
    assert len({o.numpy().tobytes() for o in others}) > 10
    kinds = {float(mix(torch.zeros(4, 1, 3, 3), y, s, seed=0, epoch=0)[1][0, 0]) for s in range(30)}
    assert len(kinds) > 10


def test_without_either_labels_are_one_hot_and_negative_strengths_are_refused():
    _, y = Mix(3)(torch.ones(2, 1, 1, 1), torch.tensor([2, 0]), 0, seed=0, epoch=0)
    assert y.tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(UsageError, match="mixup must be 0 or more"):
        Mix(3, mixup=-1)
