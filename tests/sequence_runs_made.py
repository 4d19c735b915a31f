"""Small real runs on sequences: files on disk, and a trained run for each task."""

import json

import numpy as np

import concord

TASKS = ("sequence", "segments", "language", "ctc")
MEMBERS = {
    "sequence": {"a": "gru(hidden=6)", "b": "tcn_mnist(levels=2,width=5)"},
    "segments": {"a": "blstm_segments(hidden=4)", "b": "tcn_copy(levels=2,width=5)"},
    "language": {
        "a": "char_lstm(hidden=8,layers=1,dropout=20)",
        "b": "char_tcn(levels=1,width=8,embedded=4)",
    },
    "ctc": {"a": "blstm_segments(hidden=4)", "b": "tcn_copy(levels=2,width=5)"},
}
TEXT = "the cat sat on the mat. " * 60


def write_data(folder, task):
    """A file for the task, of its usual kind; gives its path."""
    numbers = np.random.default_rng(0)
    if task == "language":
        (folder / "text.txt").write_text(TEXT)
        return folder / "text.txt"
    if task == "sequence":  # numbers that rise or fall
        lines = []
        for i in range(60):
            values = (
                np.cumsum(numbers.normal(0.5 if i % 2 else -0.5, 0.1, numbers.integers(2, 9))) * 100 + 1000
            )
            lines.append(",".join(["up" if i % 2 else "down", *(f"{v:.2f}" for v in values)]))
        (folder / "walks.csv").write_text("\n".join(lines) + "\n")
        return folder / "walks.csv"
    lines = []
    for _ in range(60):
        word = "".join(numbers.choice(list("abc"), numbers.integers(2, 9)))
        kept = [c.upper() for i, c in enumerate(word) if i == 0 or c != word[i - 1]]
        y = (
            kept
            if task == "ctc"
            else ["same" if i and c == word[i - 1] else "new" for i, c in enumerate(word)]
        )
        lines.append(json.dumps({"x": word, "y": y}))
    (folder / f"{task}.jsonl").write_text("\n".join(lines) + "\n")
    return folder / f"{task}.jsonl"


def tables(task, source, **train):
    data = {"source": str(source), "window": 16} if task == "language" else {"source": str(source)}
    members = [{"name": name, "network": network} for name, network in MEMBERS[task].items()]
    fixed = {"epochs": 2, "batch_size": 16, "threads": 1, "task": task, "device": "cpu"}
    return {
        "data": data,
        "members": members,
        "consensus": {"cost": "l2", "weight": 0.1},
        "train": {**fixed, **train},
    }


def train(folder, task, **more):
    """A finished run in ``folder``."""
    run = folder / "run"
    concord.train(tables(task, write_data(folder, task), **more), run)
    return run
