"""How far a training is, and when it ends."""

import pytest
import torch

from concord.tasks.task import Watched
from concord.training.loop import Step
from concord.training.position import Position


def valid(error):
    return Watched(error)


def after(errors, *, epochs=10, patience=None):
    position = Position()
    for epoch, error in enumerate(errors):
        position = position.closed(100 * (epoch + 1), valid(error), epochs, patience)
    return position


def step(losses, consensus, samples=4):
    return Step(0, torch.tensor(losses), torch.tensor(consensus), 1.0, (), (), samples)


def test_the_best_epoch_is_the_first_with_the_lowest_error():
    position = after([0.5, 0.2, 0.2, 0.3])
    assert (position.best, position.best_step, position.stale) == (0.2, "step-00000200", 2)


def test_a_score_of_which_more_is_better_is_watched_the_other_way():
    position = Position()
    for epoch, value in enumerate([0.5, 0.7, 0.6]):
        position = position.closed(10 * (epoch + 1), Watched(value, less_is_better=False), 9, None)
    assert (position.best, position.best_step, position.stale) == (0.7, "step-00000020", 1)


def test_training_ends_after_its_epochs():
    assert not after([0.5] * 9).finished
    assert after([0.5] * 10).finished


def test_patience_ends_training_after_so_many_epochs_without_a_better_one():
    assert not after([0.5, 0.2, 0.4, 0.3], patience=3).finished
    assert after([0.5, 0.2, 0.4, 0.3, 0.2], patience=3).finished


def test_without_a_validation_split_nothing_is_best_and_nothing_stale():
    position = Position(epoch=4, best=None).closed(50, None, 10, 1)
    assert (position.epoch, position.best, position.stale, position.finished) == (5, None, 0, False)


def test_sums_weigh_batches_by_their_size():
    position = Position(epoch=2, seconds=10.0)
    position.add(step([1.0, 4.0], 2.0, 64), torch.tensor([5.0]), seconds=0.5)
    position.add(step([3.0, 0.0], 1.0, 16), torch.tensor([7.0]), seconds=0.25)
    assert position.totals["loss"].tolist() == [64 + 48, 256]
    assert position.totals["consensus"].item() == 128 + 16
    assert position.totals["tally"].tolist() == [12]
    assert (position.step, position.seconds, position.epoch_seconds) == (2, 10.75, 0.75)


def test_a_closed_epoch_starts_the_next_from_nothing_but_total_time():
    position = Position(epoch=2, seconds=10.0)
    position.add(step([1.0], 2.0), torch.tensor([5.0]), seconds=0.5)
    closed = position.closed(30, valid(0.1), 9, None)
    assert closed.totals == {}
    assert (closed.epoch, closed.step, closed.epoch_seconds, closed.seconds) == (3, 0, 0.0, 10.5)


def test_a_position_without_its_totals_makes_itself_again():
    position = after([0.5, 0.2])
    position.add(step([1.0], 2.0), torch.tensor([5.0]), seconds=0.5)
    assert Position(**position.plain(), totals=position.totals) == position
    assert "totals" not in position.plain()


@pytest.mark.parametrize("patience", [None, 1])
def test_a_first_epoch_is_always_the_best_so_far(patience):
    assert after([1.0], patience=patience).best_step == "step-00000100"
