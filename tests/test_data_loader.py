"""Worker processes: the same batches, nothing left behind, signals for the parent, errors in one line."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from data_made import noisy
from PIL import Image

from concord.data.batches import ranges
from concord.data.dataset import Draw
from concord.data.images.augment import Augment
from concord.data.images.images import Images
from concord.data.load import load
from concord.data.loader import Loader, Wanted
from concord.data.tensors import Tensors
from concord.errors import DataError, ResourceError


@pytest.fixture
def folder(tmp_path):
    for i, pixels in enumerate(noisy(40, 8, 8)):
        (tmp_path / "set" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / "ab"[i % 2] / f"{i:02}.png")
    return tmp_path / "set"


def wanted(part, count, epoch=0):
    return [Wanted(part, index, Draw(3, epoch)) for index in ranges(count, 5)]


def changed(images):
    augment = Augment(flip=True, crop=2, resized_crop=0.5, policy="trivial")
    return Images(images.store, images.labels, images.classes, images.names, images.rows, augment)


def flat(made):
    return [(x.tolist(), y.tolist()) for x, y in made]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_batches_are_the_same_whatever_the_number_of_workers(context, folder):
    train = changed(load(str(folder), keep="decode", valid=0).train)
    oracle = flat(train.batch(one.index, one.draw) for one in wanted("train", len(train)))
    for workers in (0, 1, 2) if context == "fork" else (1,):
        loader = Loader({"train": train}, workers, context)
        assert flat(loader.batches(wanted("train", len(train)))) == oracle


def test_workers_live_on_over_epochs_and_end_with_the_loader(folder):
    before = running()
    splits = load(str(folder), keep="decode")
    loader = Loader({"train": splits.train, "test": splits.test}, 2)
    list(loader.batches(wanted("train", len(splits.train))))
    first = running()
    assert len(first - before) == 2
    x = next(loader.batches(wanted("train", len(splits.train), epoch=1)))  # given up after one batch
    assert len(x[0]) == 5
    assert flat(loader.batches(wanted("test", 8))) == flat(
        splits.test.batch(one.index, None) for one in wanted("test", 8)
    )
    assert running() == first
    del loader
    assert running() == before


def test_a_second_list_at_the_same_time_is_made_here(folder):
    splits = load(str(folder), keep="decode")
    loader = Loader({"train": splits.train, "test": splits.test}, 1)
    outer = loader.batches(wanted("train", len(splits.train)))
    first = next(outer)
    inner = flat(loader.batches(wanted("test", 8)))
    rest = [first, *outer]
    assert inner == flat(splits.test.batch(one.index, None) for one in wanted("test", 8))
    assert flat(rest) == flat(splits.train.batch(o.index, None) for o in wanted("train", len(splits.train)))


def test_the_process_is_left_as_it_was_found(folder):
    def found():
        handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
        return handlers, torch.get_num_threads(), torch.get_rng_state().tolist(), np.random.get_state()[1][0]  # noqa: NPY002

    before = found()
    loader = Loader({"train": load(str(folder), keep="decode").train}, 1)
    list(loader.batches(wanted("train", 10)))
    assert found() == before
    del loader
    assert found() == before


def children(before):
    return [child for child in multiprocessing.active_children() if child.pid not in before]


def running():
    return {child.pid for child in multiprocessing.active_children()}


def test_workers_survive_the_signals_of_the_group(folder):
    before = running()
    train = load(str(folder), keep="decode").train
    loader = Loader({"train": train}, 1)
    list(loader.batches(wanted("train", 10)))
    (child,) = children(before)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child.pid, number)
    assert len(list(loader.batches(wanted("train", 20)))) == 4
    assert child.is_alive()


def test_an_error_comes_in_one_line_where_its_batch_would_come(folder, monkeypatch):
    monkeypatch.setattr("concord.data.images.pictures.MOST_EXACT", 0)
    before = running()
    train = load(str(folder), keep="decode", valid=0).train
    (folder / train.name(12)).unlink()
    loader = Loader({"train": train}, 2)
    made = loader.batches(wanted("train", len(train)))
    assert len([next(made), next(made)]) == 2
    with pytest.raises(DataError, match=r"^[^\n]*does not exist$") as caught:
        next(made)
    assert train.name(12) in str(caught.value)
    assert running() == before
    assert len(list(loader.batches(wanted("train", 10)))) == 2  # with new workers
    loader.close()
    assert running() == before


@pytest.mark.fault(26)
def test_a_killed_worker_is_a_resource_error_and_the_next_list_has_new_ones(folder):
    before = running()
    train = load(str(folder), keep="decode").train
    loader = Loader({"train": train}, 1)
    list(loader.batches(wanted("train", 10)))
    (child,) = children(before)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with pytest.raises(ResourceError, match=r"ended unexpectedly.*data\.workers"):
        list(loader.batches(wanted("train", 20)))
    assert len(list(loader.batches(wanted("train", 20)))) == 4


@pytest.mark.fault(26)
def test_a_killed_worker_takes_with_it_one_that_hears_nothing_any_more(folder):
    """As one does that waits for a lock which the killed one held: here it is halted."""
    before = running()
    train = load(str(folder), keep="decode").train
    loader = Loader({"train": train}, 2)
    list(loader.batches(wanted("train", 10)))
    killed, stuck = children(before)
    os.kill(stuck.pid, signal.SIGSTOP)
    killed.kill()
    killed.join()
    with pytest.raises(ResourceError, match="ended unexpectedly"):
        list(loader.batches(wanted("train", 20)))
    assert running() == before
    assert not stuck.is_alive()


ORPHANS = """
import multiprocessing, os, sys, time, torch
from concord.data.loader import Loader, Wanted
from concord.data.tensors import Tensors
loader = Loader({"x": Tensors(torch.zeros(10, 2), torch.arange(10) % 2)}, 2)
next(loader.batches([Wanted("x", torch.arange(2))] * 50))
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
time.sleep(60)
"""


def test_a_process_that_ends_in_the_middle_of_an_epoch_does_not_wait_for_its_workers():
    script = ORPHANS.replace("next(loader", "made = (loader").replace("sleep(60)", "sleep(0)")
    script = script.replace("print(", "next(made)\nprint(")
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.fault(26)
def test_workers_end_when_the_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    for _ in range(900):  # torch's workers look for their parent every five seconds
        if all(_state(pid) == "Z" for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail("workers outlive their parent")


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"  # gone, and not only dead


def test_tensors_go_through_workers_too():
    data = Tensors(torch.randn(20, 3), torch.arange(20) % 4)
    loader = Loader({"x": data}, 1)
    assert flat(loader.batches(wanted("x", 20))) == flat(data.batch(o.index, o.draw) for o in wanted("x", 20))
