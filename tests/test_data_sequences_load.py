"""Sequences as a data set: what a batch holds, how parts are cut, sets by name."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concord.data.dataset import Draw
from concord.data.sequences.files import Known, Listed, read
from concord.data.sequences.load import Wanted, load
from concord.data.sequences.named import NAMED, made
from concord.data.sequences.padded import Problem
from concord.data.sequences.samples import Scale, Sequences
from concord.errors import DataError, UsageError

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def of_lengths(lengths, features=0, free=False):
    """Sequences whose steps are numbered through, with labels of their own."""
    numbers = np.random.default_rng(sum(lengths))
    n, t = len(lengths), max(lengths)
    there = np.arange(t) < np.array(lengths)[:, None]
    x = numbers.integers(0, 5, (n, t)) if not features else numbers.normal(7, 3, (n, t, features))
    x = np.where(there if not features else there[..., None], x, 0)
    y = np.where(there, numbers.integers(0, 3, (n, t)), -1)
    x = torch.tensor(x) if not features else torch.tensor(x, dtype=torch.float32)
    problem = Problem(x, torch.tensor(lengths), torch.tensor(y))
    names = tuple(map(str, range(n)))
    return Sequences(Listed(problem, ("p", "q", "r"), tuple("vwxyz"), names), free)


@given(LENGTHS, st.data())
def test_a_batch_holds_the_steps_of_its_samples_and_none_behind_the_longest(lengths, data):
    whole = of_lengths(lengths)
    index = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=5))
    (x, given_lengths), y = whole.batch(torch.tensor(index), Draw(0, 0))
    assert given_lengths.tolist() == [lengths[i] for i in index]
    assert x.shape[1] == y.shape[1] == max(lengths[i] for i in index)
    for row, labels, i in zip(x, y, index, strict=True):
        assert row[: lengths[i]].tolist() == whole.listed.problem.x[i, : lengths[i]].tolist()
        assert labels[: lengths[i]].tolist() == whole.listed.problem.y[i, : lengths[i]].tolist()
        assert (labels[lengths[i] :] == -1).all()


@given(LENGTHS)
def test_a_scale_is_that_of_numpy_over_the_steps_that_are_there(lengths):
    whole = of_lengths(lengths, features=2)
    problem = whole.listed.problem
    steps = np.concatenate([x[:n].numpy() for x, n in zip(problem.x, lengths, strict=True)]).astype(
        np.float64
    )
    scale = Scale.of(problem.x, problem.lengths)
    assert scale.mean == pytest.approx(steps.mean(0))
    assert scale.std == pytest.approx(np.where(steps.std(0) == 0, 1, steps.std(0)))
    scaled = scale(problem.x, problem.lengths)
    for row, n in zip(scaled, lengths, strict=True):
        assert (row[n:] == 0).all()


def test_labels_without_places_leave_number_0_to_the_blank():
    whole = of_lengths([3, 1], free=True)
    _, target = whole.batch(torch.tensor([0, 1]), None)
    y = whole.listed.problem.y
    assert target["labels"].tolist() == [[k + 1 for k in y[0].tolist()], [y[1, 0].item() + 1, -1, -1]]
    assert target["steps"].tolist() == [3, 1]


def test_equal_data_have_equal_fingerprints_and_a_changed_number_another():
    one, same, other = of_lengths([3, 2], 2), of_lengths([3, 2], 2), of_lengths([3, 2], 2)
    other.listed.problem.x[1, 0, 1] += 1e-3
    assert one.fingerprint == same.fingerprint != other.fingerprint


def table(tmp_path, count=100, name="a.csv"):
    lines = [f"{'pq'[i % 4 == 0]},{i},{i + 1}" for i in range(count)]  # a quarter is q
    (tmp_path / name).write_text("\n".join(lines))
    return tmp_path / name


def firsts(part):
    return set(part.listed.problem.x[:, 0, 0].tolist())


def test_parts_are_disjoint_whole_and_have_the_classes_in_their_proportions(tmp_path):
    parts = load(Wanted(str(table(tmp_path)), "sequence", valid=0.1, test=0.2))
    train, valid, test = parts.train, parts.valid, parts.test
    assert (len(train), len(valid), len(test)) == (72, 8, 20)
    assert firsts(train) | firsts(valid) | firsts(test) == set(map(float, range(100)))
    assert [int((part.listed.problem.y == 1).sum()) for part in (train, valid, test)] == [18, 2, 5]


def test_another_seed_cuts_otherwise_and_the_same_one_alike(tmp_path):
    source = str(table(tmp_path))
    one, same, other = (load(Wanted(source, "sequence", seed=seed)).test for seed in (1, 1, 2))
    assert firsts(one) == firsts(same) != firsts(other)


def test_a_limit_keeps_validation_and_test_as_they_are(tmp_path):
    source = str(table(tmp_path))
    few, all_ = load(Wanted(source, "sequence", limit=10)), load(Wanted(source, "sequence"))
    assert len(few.train) == 10
    assert firsts(few.train) < firsts(all_.train)
    assert firsts(few.test) == firsts(all_.test)


def test_a_folder_with_train_and_test_has_a_test_part_of_its_own(tmp_path):
    table(tmp_path, 40, "train.csv")
    (tmp_path / "test.csv").write_text("q,500,501\n")
    parts = load(Wanted(str(tmp_path), "sequence"))
    assert (parts.own_test, firsts(parts.test), len(parts.train)) == (True, {500.0}, 36)
    assert parts.test.scale == parts.train.scale
    (tmp_path / "test.csv").write_text("strange,500,501\n")
    with pytest.raises(DataError, match=r"test\.csv, line 1: label 'strange' is not among the classes"):
        load(Wanted(str(tmp_path), "sequence"))


@pytest.mark.parametrize("name", NAMED)
def test_a_set_by_name_is_a_function_of_its_seed_within_its_alphabet_and_classes(name):
    found, same, other = made(name, 3), made(name, 3), made(name, 4)
    problem = found.problem
    assert torch.equal(problem.x, same.problem.x)
    if name not in ("anbn", "anbncn"):  # all words of these are there
        assert not torch.equal(problem.x[:50, :2], other.problem.x[:50, :2])
    if found.alphabet:
        assert 0 <= problem.x.min() <= problem.x.max() < len(found.alphabet)
    assert -1 <= problem.y.min() <= problem.y.max() == len(found.classes) - 1
    parts = load(Wanted(name, NAMED[name].task))
    assert len(parts.train) + len(parts.valid) + len(parts.test) == len(problem.lengths)


def test_the_made_sets_have_the_right_answers():
    parity = made("parity", 0)
    for x, n, y in zip(*(tensor[:50] for tensor in parity.problem), strict=True):
        word = "".join(parity.alphabet[k] for k in x[:n])
        assert parity.classes[y[n - 1]] == str(word.count("1") % 2)
    words = made("anbn", 0)
    text = "".join(words.alphabet[k] for k in words.problem.x[2][: words.problem.lengths[2]])
    assert text == "$aaabbb"


def test_a_set_of_another_task_is_refused_with_those_that_fit():
    with pytest.raises(
        UsageError, match=r"parity is a set for the task segments, not for sequence; .* temporal_order"
    ):
        load(Wanted("parity", "sequence"))


def test_a_set_with_other_characters_or_classes_than_the_training_is_refused():
    known = load(Wanted("anbn", "language")).known
    assert load(Wanted("anbn", "language", seed=5), known).known == known
    for name in ("anbncn", "dyck"):
        with pytest.raises(DataError, match=f"{name} has other characters or classes than the training"):
            load(Wanted(name, "language"), known)


def test_labels_and_characters_that_are_all_alike_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("p,ab\n" * 20)
    with pytest.raises(DataError, match=r"its labels are all alike \('p'\)"):
        load(Wanted(str(tmp_path / "a.csv"), "sequence"))
    (tmp_path / "b.jsonl").write_text('{"x": "ab", "y": []}\n' * 20)
    with pytest.raises(DataError, match=r"its labels are all alike \(none\)"):
        load(Wanted(str(tmp_path / "b.jsonl"), "ctc"))
    (tmp_path / "c.jsonl").write_text('{"x": "ab", "y": ["p"]}\n' * 20)  # one label, which is there or not
    assert load(Wanted(str(tmp_path / "c.jsonl"), "ctc")).known.classes == ("p",)
    (tmp_path / "d.txt").write_text("a" * 2000)
    with pytest.raises(DataError, match="its characters are all alike"):
        load(Wanted(str(tmp_path / "d.txt"), "language"))
    some = Known(("a", "b"), ("p", "q"))  # those of a training, of which other data may have one alone
    assert load(Wanted(str(tmp_path / "a.csv"), "sequence"), some).known == some


def test_texts_to_predict_have_no_labels_and_known_characters(tmp_path):
    known = Known(tuple("ab"), ("p",))
    (tmp_path / "a.jsonl").write_text('{"x": "ab"}\n{"x": "b", "y": ["any", "thing"]}\n')
    found = read(tmp_path / "a.jsonl", known=known, labels="none")
    assert found.problem.lengths.tolist() == [2, 1]
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "1.txt").write_text("ba")
    assert read(tmp_path / "t", known=known, labels="none").problem.x.tolist() == [[1, 0]]
    (tmp_path / "b.jsonl").write_text('{"x": "ac"}\n')
    with pytest.raises(DataError, match=r"line 1: character 2 is 'c', which the training text lacks"):
        read(tmp_path / "b.jsonl", known=known, labels="none")


def test_labels_of_any_number_are_free_or_one_for_each_step(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"x": [1, 2, 3], "y": ["u", "v"]}) + "\n")
    assert read(tmp_path / "a.jsonl", labels="free").problem.y.tolist() == [[0, 1]]
    with pytest.raises(DataError, match="2 labels for 3 steps"):
        read(tmp_path / "a.jsonl")
