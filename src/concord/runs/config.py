"""What a run is: one record, read from TOML, checked by pydantic, written back resolved.

Nothing here imports torch.
"""

import re
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PositiveFloat,
    field_validator,
    model_validator,
)

from concord.consensus import names
from concord.consensus.edges import table
from concord.errors import amount
from concord.runs.config_consensus import Consensus
from concord.runs.config_data import Augment, Data
from concord.runs.config_optimizers import Adam, Muon, OwnOptimizer, Sgd
from concord.runs.config_vision import Detect, Segment
from concord.runs.section import Count, Fraction, Headed, Section, Text
from concord.runs.sequences import settings as sequences
from concord.runs.vision import settings as vision

MOST_MEMBERS = 256
NAME, LONGEST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*"), 60  # of a member
DEVICE = re.compile(r"cpu|cuda(:\d+)?", re.ASCII)


def file_name(name: str) -> str:
    """The name of a member is part of names of files."""
    if not NAME.fullmatch(name):
        raise ValueError(
            "must begin with a letter or digit, followed by letters, digits, '_', '.' or '-' only"
        )
    return name


def _device(name: str) -> str:
    if not DEVICE.fullmatch(name):
        raise ValueError("must be cpu, cuda, or a GPU by its number such as cuda:1")
    return name


def _device_or_auto(name: str) -> str:
    if name != "auto" and not DEVICE.fullmatch(name):
        raise ValueError("must be auto, cpu, cuda, or a GPU by its number such as cuda:1")
    return name


class Member(Headed):
    """One network in training.

    ``network`` is a name of the zoo, torchvision or timm, FILE.cfg of darknet, or package.module:factory.
    """

    name: Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(file_name)] = Field(kw_only=False)
    network: Text
    pretrained: bool | Text = False  # true: of its library; or a file of weights
    teacher: Text | None = None  # RUN or RUN:MEMBER: weights from there, which then stay as they are
    retired: bool = False  # learns nothing from here on, and nobody learns from it
    # where it lies; default: the device of the training
    device: Annotated[str, AfterValidator(_device)] | None = None


REST = "rest"


class Unlabelled(Section):
    """Extra images on which members only agree: "noise", a file or folder of images, or ``REST``, which is
    the training images that ``data.limit`` leaves out."""

    source: Text
    batch_size: Count = 64


class Fgsm(Section):
    """Train on images changed by eps sign(gradient) too; eps is a part of the range of a pixel."""

    kind: Literal["fgsm"]
    eps: Annotated[float, Field(ge=0, le=1)] = 0.1
    share: Annotated[float, Field(ge=0, le=1)] = 0.5  # of the images as they are


class Pgd(Section):
    """Train on images changed in several steps too, from a random start."""

    kind: Literal["pgd"]
    eps: Annotated[float, Field(ge=0)] = 0.1
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    norm: Literal["linf", "l2"] = "linf"
    steps: Count = 7
    step_size: PositiveFloat | None = None  # default: 2.5 eps / steps


def _of_three(count: int) -> int:
    if count < 3:
        raise ValueError("at least 3: a part with a single image has no statistics for batch normalisation")
    return count


class Train(Section):
    """How members are trained."""

    epochs: Count = 30
    batch_size: Count = 64
    seed: int = 0
    task: Text = "classify"
    optimizer: Annotated[Sgd | Adam | Muon | OwnOptimizer, Field(discriminator="kind")] = Adam()
    schedule: Literal["halving", "halving_epochs", "cosine", "constant"] = "halving"
    cycles: Count = 1  # times that the schedule begins again; the ends of cycles are snapshots
    warmup: Fraction = 0.0  # fraction of the training with a linearly rising rate
    ema: Fraction = 0.0  # decay of the average of a member's weights, which the run stands for; 0: none
    clip: PositiveFloat | None = None
    patience: Count | None = None  # epochs without a better validation error before stopping
    label_smoothing: Fraction = 0.0
    shuffle: bool = True  # false: the stored order in every epoch, as Noel 2017
    carry: bool = False  # language: as many streams as batch_size, states go on from batch to batch
    batches: Literal["shared", "own", "views"] = "shared"
    update: Literal["simultaneous", "alternating"] = "simultaneous"
    micro_batch: Annotated[Count, AfterValidator(_of_three)] | None = None  # most images in one pass
    stacked: bool = False  # members of one network in one pass
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Annotated[str, AfterValidator(_device_or_auto)] = "auto"
    threads: Annotated[int, Field(gt=0, le=1024)] | None = None
    deterministic: bool = True
    test: Literal["end", "epoch"] = "end"  # when the test split is looked at
    coverage: Annotated[float, Field(gt=0, lt=1)] = 0.9  # of sets of labels: how often they have the true one
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60.0  # apart at least; each epoch ends with one too

    @model_validator(mode="before")
    @classmethod
    def adam_unless_said(cls, given: Any) -> Any:
        optimizer = given.get("optimizer") if isinstance(given, dict) else None
        if isinstance(optimizer, dict) and "kind" not in optimizer:
            return given | {"optimizer": {"kind": "adam"} | optimizer}
        return given


class Config(Section):
    """A whole run."""

    data: Data = Data()
    augment: Augment = Augment()
    members: Annotated[list[Member], Field(min_length=1, max_length=MOST_MEMBERS)]
    consensus: Consensus = Consensus()
    unlabelled: Unlabelled | None = None
    adversarial: Annotated[Fgsm | Pgd, Field(discriminator="kind")] | None = None
    segment: Segment | None = None
    detect: Detect | None = None
    train: Train = Train()

    @field_validator("adversarial", mode="before")
    @classmethod
    def is_a_table(cls, given: Any) -> Any:
        if given is None or isinstance(given, dict | Fgsm | Pgd):
            return given
        raise ValueError("adversarial is a table: adversarial.kind=fgsm, adversarial.eps=0.1")

    @model_validator(mode="before")
    @classmethod
    def fgsm_unless_said(cls, given: Any) -> Any:
        adversarial = given.get("adversarial") if isinstance(given, dict) else None
        if isinstance(adversarial, dict) and "kind" not in adversarial:
            return given | {"adversarial": {"kind": "fgsm"} | adversarial}
        return given

    @model_validator(mode="after")
    def fits(self) -> "Config":
        called = [member.name for member in self.members]
        for name, count in Counter(called).items():
            if count > 1:
                raise ValueError(f"{count} members are called {name!r}: give each member another name")
        if names.ENSEMBLE in called:
            raise ValueError(f"{names.ENSEMBLE!r} is the name of all members together: rename that member")
        if all(member.teacher or member.retired for member in self.members):
            raise ValueError("no member learns: at least one must be neither retired nor a teacher")
        consensus, train = self.consensus, self.train
        nobody = [[0.0] * len(called)] * len(called)
        edges = nobody if isinstance(consensus.edges, str) else consensus.edges
        if len(edges) != len(called):
            raise ValueError(
                f"consensus.edges has {amount(len(edges), 'row')}, but there are"
                f" {amount(len(called), 'member')}"
            )
        table(edges, consensus.detach)
        if consensus.cost == "none" and consensus.weight:
            raise ValueError('a consensus weight needs a cost: consensus.cost = "l2", for example')
        if consensus.temperature and not consensus.cost.startswith(("kl", "kdcl")):
            raise ValueError(f"consensus.temperature belongs to kl and KDCL, not to {consensus.cost}")
        if consensus.detach is not True and (train.update == "alternating" or train.batches == "own"):
            raise ValueError("detach = false needs shared batches and the simultaneous update")
        if train.epochs % train.cycles:
            raise ValueError(
                f"train.cycles is {train.cycles}, which does not divide train.epochs = {train.epochs}"
            )
        if train.cycles > 1 and train.patience is not None:
            raise ValueError(
                "train.patience would stop at the start of a cycle: leave it out with train.cycles"
            )
        if (train.stacked or train.micro_batch) and train.update == "alternating":
            raise ValueError("train.stacked and train.micro_batch need the simultaneous update")
        if train.stacked and train.precision == "bfloat16":
            raise ValueError("train.stacked computes in float32: autocast does not reach convolutions there")
        if isinstance(self.adversarial, Pgd) and self.adversarial.norm == "linf" and self.adversarial.eps > 1:
            raise ValueError("adversarial.eps is at most 1, the range of a pixel, in the norm linf")
        if consensus.cost.startswith("kdcl") and any(member.retired for member in self.members):
            raise ValueError("KDCL targets are made of all members, so none of them can be retired")
        if self.unlabelled and consensus.cost.startswith("kdcl"):
            raise ValueError("KDCL targets are made with labels, so unlabelled batches need another cost")
        if wrong := sequences.fault(self) or vision.fault(self):
            raise ValueError(wrong)
        return self
