"""Which settings a training on sequences takes. Nothing here imports torch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concord.runs.config import Config

TASKS = ("sequence", "segments", "language", "ctc")
LANGUAGE = "language"
PAIRS = {  # members for whoever names none
    "sequence": ("lstm", "gru"),
    "segments": ("blstm_segments", "tcn_copy"),
    "language": ("char_lstm", "char_tcn"),
    "ctc": ("blstm_segments", "tcn_copy"),
}
# of pictures alone: the key, and the value at which it does nothing
DATA = {
    "size": None,
    "joint": False,
    "drop_duplicates": False,
    "bad_images": "error",
    "keep": "auto",
    "largest_image": 50.0,
}
TRAIN = {"batches": "shared", "label_smoothing": 0.0, "stacked": False, "test": "end"}


def fault(config: "Config") -> str | None:
    """What of the settings belongs to another kind of training; None where all fits."""
    task = config.train.task
    if task not in TASKS:
        text = {"data.window": config.data.window is not None, "train.carry": config.train.carry}
        return next((f"{key} belongs to train.task = language" for key, given in text.items() if given), None)
    for table, section, idle in (("data", config.data, DATA), ("train", config.train, TRAIN)):
        for key, value in idle.items():
            if getattr(section, key) != value:
                return f"{table}.{key} belongs to pictures, not to the task {task}"
    for name in ("unlabelled", "adversarial"):
        if getattr(config, name) is not None:
            return f"{name} belongs to pictures, not to the task {task}"
    if config.augment.changes:
        return f"augment belongs to pictures, not to the task {task}"
    if config.train.carry and task != LANGUAGE:
        return f"train.carry belongs to the task language, not to {task}"
    if config.train.carry and config.train.micro_batch is not None:
        return "train.carry reads streams in order, without train.micro_batch"
    if config.train.carry and config.train.update != "simultaneous":
        return 'train.carry reads streams in order, with train.update = "simultaneous"'
    if config.data.window is not None and task != LANGUAGE:
        return f"data.window belongs to the task language, not to {task}"
    if teachers := [member.name for member in config.members if member.teacher]:
        return f"member {teachers[0]}: a teacher belongs to pictures, not to the task {task}"
    if config.data.source == "digits":
        return f"the task {task} needs data: --data FILE, a folder or a name of made sequences"
    return None
