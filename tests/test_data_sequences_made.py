"""Languages and problems that a rule makes: every answer worked out once more from its input."""

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concord.data.sequences.chomsky import words
from concord.data.sequences.languages import accepted, counted, dyck, near_misses, next_symbols
from concord.data.sequences.synthetic import adding, copy_memory, temporal_order
from concord.errors import UsageError


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def letters(word, alphabet="_abc"):
    return "".join(alphabet[symbol] for symbol in word)


def test_counted_words_by_hand():
    assert letters(counted(3, 2)) == "aaabbb"
    assert letters(counted(2, 3)) == "aabbcc"
    assert {letters(word) for word in near_misses(2, 2)} == {"abb", "aaabb", "aab", "aabbb", "aabba"}


@given(st.integers(0, 12), st.integers(2, 4))
def test_no_near_miss_is_a_word(n, kinds):
    for word in near_misses(n, kinds):
        runs = [(k, len(list(run))) for k, run in itertools.groupby(word)]
        right = [k for k, _ in runs] == list(range(1, kinds + 1)) and len({size for _, size in runs}) == 1
        assert not right
        assert word
        assert abs(len(word) - kinds * n) == 1


def balanced(word, kinds):
    stack = []
    for symbol in word:
        if symbol <= kinds:
            stack.append(symbol)
        elif not stack or stack.pop() != symbol - kinds:
            return False
    return not stack


@pytest.mark.parametrize("kinds", [1, 2])
def test_dyck_words_are_balanced_and_each_is_as_likely_as_another(kinds):
    generator, count = drawn(), 6000
    found = Counter(tuple(dyck(6, kinds, generator)) for _ in range(count))
    every = [w for w in itertools.product(range(1, 2 * kinds + 1), repeat=6) if balanced(w, kinds)]
    assert set(found) == set(every)  # Catalan's 5, times 2^3 for two kinds
    expected = count / len(every)
    chi = sum((n - expected) ** 2 / expected for n in found.values())
    assert chi < len(every) + 4 * math.sqrt(2 * len(every))


def test_next_symbols_by_hand():
    x, lengths, y = next_symbols([[1, 2], [], [1]])
    assert x.tolist() == [[0, 1, 2], [0, 0, 0], [0, 1, 0]]
    assert y.tolist() == [[1, 2, 0], [0, -1, -1], [1, 0, -1]]
    assert lengths.tolist() == [3, 1, 2]


def test_a_word_is_accepted_where_every_symbol_of_it_is_likely_enough():
    problem = next_symbols([[1, 1], [1]])
    p = torch.full((2, 3, 2), 0.5)
    p[0, 2] = torch.tensor([0.009, 0.991])  # the end of the first word
    p[1, 2] = torch.tensor([0.0, 1.0])  # behind the end of the second
    assert accepted(p.log(), problem).tolist() == [False, True]
    assert accepted(p.log(), problem, 0.001).tolist() == [True, True]


ANSWERS = {
    "parity": lambda w: [w.count(1) % 2],
    "reverse": lambda w: list(reversed(w)),
    "bucket_sort": lambda w: [k for k in range(5) for symbol in w if symbol == k],
    "duplicate": lambda w: 2 * w,
}


@pytest.mark.parametrize("task", ANSWERS)
def test_every_answer_of_the_hierarchy_follows_its_word(task):
    lengths = torch.tensor([1, 4, 9, 4, 2])
    x, whole, y = words(task, lengths, drawn())
    blank = 5 if task == "bucket_sort" else 2
    for row, length, size, asked in zip(
        x.tolist(), lengths.tolist(), whole.tolist(), y.tolist(), strict=True
    ):
        word, answer = row[:length], ANSWERS[task](row[:length])
        assert max(word) < blank
        assert row[length:size] == [blank] * len(answer)
        assert asked == [-1] * length + answer + [-1] * (len(row) - length - len(answer))
    assert torch.equal(words(task, lengths, drawn()).x, x)
    assert not torch.equal(words(task, lengths, drawn(1)).x, x)


def test_the_sum_of_the_marked_numbers_has_the_variance_that_is_said():
    x, _, y = adding(20_000, 11, drawn())
    numbers, marks = x.unbind(2)
    assert (marks.sum(1) == 2).all()
    assert (marks[:, :5].sum(1) == 1).all()
    torch.testing.assert_close(numbers[marks == 1].view(-1, 2).sum(1, keepdim=True), y)
    assert ((y - 1) ** 2).mean().item() == pytest.approx(1 / 6, rel=0.03)
    assert set(marks.nonzero()[:, 1].tolist()) == set(range(11))


def test_copy_memory_as_it_is_drawn_in_the_paper():
    x, lengths, y = copy_memory(50, 30, drawn())
    assert x.shape == y.shape == (50, 50)
    assert set(lengths.tolist()) == {50}
    assert set(x[:, :10].flatten().tolist()) == set(range(1, 9))
    assert not x[:, 10:39].any()
    assert (x[:, 39:] == 9).all()
    assert not y[:, :40].any()
    assert torch.equal(y[:, 40:], x[:, :10])


def test_temporal_order_as_the_authors_code_has_it():
    x, _, y = temporal_order(3000, 50, drawn())
    symbols = x.argmax(2)
    assert (x.sum(2) == 1).all()
    places = (symbols < 2).nonzero().view(3000, 2, 2)[:, :, 1]
    assert set(places[:, 0].tolist()) == set(range(5, 10))
    assert set(places[:, 1].tolist()) == set(range(25, 30))
    first, second = (symbols.gather(1, places[:, k : k + 1])[:, 0] for k in range(2))
    assert torch.equal(y, 2 * first + second)
    assert set(y.tolist()) == {0, 1, 2, 3}
    assert set(symbols.flatten().tolist()) == set(range(6))


@pytest.mark.parametrize(
    ("call", "words_"),
    [
        (lambda: counted(-1, 2), "n >= 0"),
        (lambda: dyck(3, 1, drawn()), "an even length"),
        (lambda: words("sorting", torch.tensor([1]), drawn()), "expected one of parity"),
        (lambda: words("parity", torch.tensor([0]), drawn()), "at least 1"),
        (lambda: adding(1, 1, drawn()), "at least 2 steps"),
        (lambda: temporal_order(4, 9, drawn()), "at least 10 steps, got 4 of 9"),
    ],
)
def test_wrong_use_is_refused(call, words_):
    with pytest.raises(UsageError, match=words_):
        call()
