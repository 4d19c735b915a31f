"""Transfer matrices worked out by hand, and attacks over a whole data set."""

import copy
import math
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F
from attack_made import images_and_labels, network

from concord.attack.fgsm import fgsm
from concord.attack.gradient import away
from concord.attack.strike import SHOWN, answers, strike, stuck_samples, untouched
from concord.attack.transfer import error_matrix, fooled_matrix

EPS = 0.2


@cache
def trained(seed):
    """A network that tells which of three rows is the brightest, and samples of that."""
    net, (x, _) = network(seed), images_and_labels(60)
    labels = x[:, 0, :3].mean(-1).argmax(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(net(x), labels).backward()
        optimizer.step()
    return net, list(zip(x.split(25), labels.split(25), strict=True))


def attack(loss, images):
    return fgsm(loss, images, EPS)


def test_the_matrices_by_hand():
    labels = torch.tensor([0, 0, 0, 0, 1])
    clean = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 2, 0, 1]])
    votes = torch.tensor(
        [
            [[1, 1, 1, 1, 1], [1, 0, 2, 0, 1]],  # against the first: it loses 0, 1, 2; the second loses 0
            [
                [0, 0, 0, 0, 0],
                [1, 1, 1, 1, 1],
            ],  # against the second: it loses 0, 1, 3; the first none of them
        ]
    )
    torch.testing.assert_close(
        error_matrix(votes, labels), torch.tensor([[4, 2], [1, 4]], dtype=torch.float64) / 5
    )
    # of the images 0, 1, 2 the second was right about 0 and 1, and loses one of the two; of the images
    # 0, 1, 3 the first was right about 0 and 1
    found = fooled_matrix(votes, clean, labels, [0, 1])
    assert found.tolist() == [[1, 0.5], [0, 1]]


def test_where_nobody_was_fooled_there_is_no_share():
    labels = torch.tensor([0, 0])
    said = labels[None]
    assert math.isnan(fooled_matrix(said[None], said, labels, [0]).item())


def test_a_network_against_itself_is_its_own_error_under_attack():
    net, samples = trained(0)
    struck = strike({"a": net}, "a", samples, attack)
    x, y = (torch.cat(parts) for parts in zip(*samples, strict=True))
    wrong = (net(fgsm(away(net, y), x, EPS)).argmax(1) != y).float().mean().item()
    assert 0 < wrong < 1
    labels = torch.cat([labels for _, labels in samples])
    assert error_matrix(struck.votes[None], labels).item() == pytest.approx(wrong)


def test_an_attack_transfers_wholly_to_an_identical_network_and_partly_to_another():
    net, samples = trained(0)
    networks = {"a": net, "twin": copy.deepcopy(net), "other": trained(1)[0]}
    labels = torch.cat([labels for _, labels in samples])
    votes = torch.stack([strike(networks, name, samples, attack).votes for name in networks])
    clean, _ = untouched(networks, samples)
    found = fooled_matrix(votes, clean, labels, [0, 1, 2])
    assert found[:2, :2].tolist() == [[1, 1], [1, 1]]
    assert 0.2 < found[0, 2] < 1
    assert torch.equal(votes[0, 0], votes[0, 1])


def test_examples_are_those_fooled_with_the_largest_sum_of_confidences():
    net, samples = trained(0)
    samples = [(x, (y + (torch.arange(len(y)) < 5)) % 3) for x, y in samples]  # some it gets wrong anyway
    found = strike({"a": net}, "a", samples, attack).examples
    x, y = (torch.cat(parts) for parts in zip(*samples, strict=True))
    changed = fgsm(away(net, y), x, EPS)
    (before, sure), (after, still_sure) = answers(net, x), answers(net, changed)
    score = torch.where((before == y) & (after != y), sure + still_sure, torch.tensor(-1.0))
    best = score.topk(SHOWN).indices
    assert (after != y).sum() > SHOWN
    assert torch.equal(found.images, x[best])
    torch.testing.assert_close(found.changed, changed[best])
    assert torch.equal(found.labels, y[best])
    assert torch.equal(found.votes, after[best])
    torch.testing.assert_close(found.before + found.after, score[best])


def test_a_wanted_class_is_reached_more_often_than_without_asking_for_it():
    net, samples = trained(0)
    asked = strike({"a": net}, "a", samples, attack, target=2)
    free = strike({"a": net}, "a", samples, attack)
    assert (asked.votes == 2).sum() > (free.votes == 2).sum()
    assert (asked.examples.votes == 2).all()
    assert (asked.examples.labels != 2).all()


def test_an_attack_of_radius_zero_changes_nothing():
    net, samples = trained(1)
    clean, sure = untouched({"a": net}, samples)
    still = strike({"a": net}, "a", samples, partial(fgsm, eps=0.0))
    assert torch.equal(still.votes, clean)
    assert torch.equal(still.confidences, sure)
    assert len(still.examples) == 0


def test_samples_that_no_gradient_can_attack_are_counted():
    net, samples = trained(0)
    assert not stuck_samples(net, samples).any()
    assert stuck_samples(lambda x: net(x.round()), samples).all()
