"""Which settings a training on masks or boxes takes. Nothing here imports torch."""

from typing import TYPE_CHECKING

from concord.runs.config_data import ELSEWHERE

if TYPE_CHECKING:
    from concord.runs.config import Config

SEGMENT, DETECT = "segment", "detect"
TASKS = (SEGMENT, DETECT)
PAIRS = {  # members for whoever names none
    SEGMENT: {
        "narrow": "unet(width=8,depth=3,same=1,norm=1)",
        "wide": "unet(width=16,depth=3,same=1,norm=1)",
    },
    DETECT: {"narrow": "yolo_small_v3(width=12)", "wide": "yolo_small_v3"},
}
# of classifiers alone: the key, and the value at which it does nothing
DATA = {"joint": False, "drop_duplicates": False, "bad_images": "error", "keep": "auto"}
TRAIN = {"batches": "shared", "label_smoothing": 0.0, "stacked": False, "test": "end"}
# changes of training pictures that each task takes; others belong to classifiers
CHANGES = {
    SEGMENT: ("flip", "brightness", "deform", "turn"),
    DETECT: ("flip", "brightness", "contrast", "saturation", "hue", "jitter", "mosaic"),
}


def fault(config: "Config") -> str | None:
    """What of the settings belongs to another kind of training; None where all fits."""
    task = config.train.task
    for name in TASKS:
        if getattr(config, name) is not None and task != name:
            return f"the table {name} belongs to train.task = {name}"
    if task != SEGMENT:
        for key in ("valid", "test"):
            if isinstance(getattr(config.data, key), str):
                return f"data.{key} holds names, which belong to train.task = {SEGMENT}; give a fraction"
        if config.data.classes is not None:
            return f"data.classes belongs to train.task = {SEGMENT}"
    changes = [key for key, value in config.augment.model_dump().items() if value not in (None, 0)]
    if task not in TASKS:
        return next((f"augment.{key} belongs to {_owner(key)}" for key in changes if key in ELSEWHERE), None)
    if wrong := [key for key in changes if key not in CHANGES[task]]:
        return (
            f"augment.{wrong[0]} does not belong to the task {task}, which takes {', '.join(CHANGES[task])}"
        )
    for table, section, idle in (("data", config.data, DATA), ("train", config.train, TRAIN)):
        for key, value in idle.items():
            if getattr(section, key) != value:
                return f"{table}.{key} belongs to classifiers, not to the task {task}"
    for name in ("unlabelled", "adversarial"):
        if getattr(config, name) is not None:
            return f"{name} belongs to classifiers, not to the task {task}"
    if teachers := [member.name for member in config.members if member.teacher]:
        return f"member {teachers[0]}: a teacher belongs to classifiers, not to the task {task}"
    if config.data.source == "digits":
        return f"the task {task} needs data: --data FOLDER or a file of annotations"
    return None


def _owner(key: str) -> str:
    return " and ".join(f"train.task = {task}" for task in TASKS if key in CHANGES[task])
