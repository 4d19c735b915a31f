"""The zoo's networks for sequences, in sizes that take seconds."""

from concord import zoo

ROWS = {row["name"]: row for row in zoo.listing() if not isinstance(row["input"][0], list)}
NAMES = [name for name, row in ROWS.items() if len(row["input"]) != 3]
SMALL = {  # as the zoo has them, but for sizes that take seconds
    "char_gru": {"hidden": 8},
    "char_lstm": {"hidden": 8},
    "char_rnn": {"hidden": 8},
    "char_tcn": {"width": 9, "embedded": 5},
    "rnn": {"hidden": 9},
    "lstm": {"hidden": 9, "layers": 2},
    "peephole_lstm": {"hidden": 9},
    "gru": {"hidden": 9},
    "gru_before": {"hidden": 9},
    "blstm_segments": {"hidden": 9, "layers": 2},
    "tcn_mnist": {"levels": 3},
    "tcn_adding": {"levels": 3},
    "tcn_copy": {"levels": 3},
}
OPTIONS = {name: SMALL.get(name, {"width": 8, "ahead": 3}) for name in NAMES}
FRAMES = [name for name in NAMES if len(ROWS[name]["input"]) == 4]
STEPS = [name for name in NAMES if name not in FRAMES]
