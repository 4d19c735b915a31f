"""What finished runs say: scores, labels for files, files for other programs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from concord.errors import UsageError
from concord.runs import evaluate as scoring
from concord.runs import export as exporting
from concord.runs import predict as labelling
from concord.runs.evaluate import Evaluation
from concord.runs.export import Exported
from concord.runs.kinds import kind_of_run
from concord.runs.predict import Prediction
from concord.runs.sequences import evaluate as sequence_scoring
from concord.runs.sequences import export as sequence_exporting
from concord.runs.sequences import predict as sequence_labelling
from concord.runs.sequences import sample as writing
from concord.runs.sequences.predict import SequencePrediction
from concord.runs.sequences.result import SequenceResult
from concord.runs.sequences.sample import Sampled
from concord.runs.task_kinds import KindName
from concord.runs.vision import evaluate as vision_scoring
from concord.runs.vision import export as vision_exporting
from concord.runs.vision import predict as vision_labelling
from concord.runs.vision.found import BoxPrediction, MaskPrediction
from concord.runs.vision.result import VisionResult
from concord.runs.watching import never
from concord.training.observer import SILENT, Observer

SCORING: Mapping[KindName, Any] = {"sequences": sequence_scoring, "vision": vision_scoring}


def evaluate(
    run: str | Path,
    *,
    data: str | None = None,
    against: str | Sequence[str] = (),
    allow_code: Collection[str] = (),
    strict: bool = False,
    snapshots: bool = False,
    observer: Observer = SILENT,
    stop: Callable[[], bool] = never,
) -> Evaluation | SequenceResult | VisionResult[Any]:
    """Scores of a run on its own test split, or on that of other data with the same classes.

    ``against``, of pictures: names or paths of other data of any classes; how well the run separates their
    images from its own test images. ``strict``: CheckpointError if the newest checkpoint is damaged, where
    otherwise an earlier one is used. ``snapshots``, of a run with ``train.cycles``: the members are the
    weights at the end of each cycle, NAME@1, NAME@2, ..., and the ensemble is what these predict together
    (snapshot ensembles).
    """
    kind, others = kind_of_run(Path(run)), [against] if isinstance(against, str) else list(against)
    if kind == "pictures":
        return scoring.evaluate(
            Path(run),
            data=data,
            against=others,
            allow_code=allow_code,
            strict=strict,
            snapshots=snapshots,
            observer=observer,
            stop=stop,
        )
    if snapshots:
        raise UsageError(f"{run} is not a classifier of pictures, and snapshots are evaluated of these alone")
    if others:
        raise UsageError(f"{run} is not a classifier of pictures: leave against out")
    found: SequenceResult | VisionResult[Any] = SCORING[kind].evaluate(
        Path(run), data=data, allow_code=allow_code, strict=strict, observer=observer, stop=stop
    )
    return found


def predict(
    run: str | Path,
    files: str | Path | Sequence[str | Path] = (),
    *,
    texts: str | Sequence[str] = (),
    member: str = "ensemble",
    top: int = 1,
    probabilities: bool = False,
    sets: str | None = None,
    score: float | None = None,
    to: str | Path | None = None,
    format: str | None = None,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> list[Prediction] | list[SequencePrediction] | list[MaskPrediction] | list[BoxPrediction]:
    """Label and confidence of every image, in the order given; one that cannot be read has an ``error``.

    Of a run on sequences a row for every sequence of .csv, .jsonl and text files, and for every one of
    ``texts``. Of a run that finds masks the class of every pixel; of one that finds boxes the objects that
    are as sure as ``score``, .25 unless given. ``to`` is a folder to write these into, as "png" or "coco",
    boxes also as "json" or "voc" (``format``).

    ``run`` may be a packed file (``export`` with ``packed``). ``files`` is a file, a folder or a pattern, or
    several of them. With ``top`` above 1 each prediction has the ``top`` likeliest classes too, with
    ``probabilities`` those of all classes. ``sets``, of pictures: "lac", "aps" or "raps", the set of labels
    that has the true one as often as ``train.coverage`` says.
    """
    chosen = [files] if isinstance(files, str | Path) else files
    kind = kind_of_run(Path(run))
    if kind != "vision" and any(given is not None for given in (score, to, format)):
        raise UsageError(f"{run} finds neither masks nor boxes: leave score, to and format out")
    if kind != "pictures" and sets is not None:
        raise UsageError(f"{run} is not a classifier of pictures, and sets of labels are of these alone")
    if kind == "sequences":
        return sequence_labelling.predict(
            Path(run),
            [str(file) for file in chosen],
            texts=texts,
            asked=sequence_labelling.Asked(member, top, probabilities),
            allow_code=allow_code,
            observer=observer,
        )
    if texts:
        raise UsageError(f"{run} is a run on pictures: give image files, no texts")
    if kind == "vision":
        if top > 1 or probabilities:
            raise UsageError(f"top and probabilities are of one label; {run} finds masks or boxes")
        return vision_labelling.predict(
            Path(run),
            [str(file) for file in chosen],
            member=member,
            score=score,
            to=None if to is None else Path(to),
            format=format or "png",
            allow_code=allow_code,
            observer=observer,
        )
    return labelling.predict(
        Path(run),
        [str(file) for file in chosen],
        member=member,
        top=top,
        probabilities=probabilities,
        sets=sets,
        allow_code=allow_code,
        observer=observer,
    )


def export(
    run: str | Path,
    to: str | Path,
    *,
    member: str = "ensemble",
    script: str | Path | None = None,
    packed: bool = False,
    calibrated: bool = False,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> Exported:
    """Write one member or the ensemble to ``to``; its suffix decides: .onnx, .pt2, .xml or .safetensors.

    ONNX and torch.export take pixels (B, C, H, W) as uint8, in any batch, and give probabilities (B, K):
    normalisation and softmax are inside, and the file describes how a picture becomes these pixels. Both are
    checked against ``predict`` on three batch sizes. ``script`` is a Python file to write beside an ONNX
    file: it labels image files with onnxruntime, pillow and numpy alone.

    OpenVINO files, of classifiers of pictures alone, are the same for one image (``model.reshape`` gives
    another batch); weights are in FILE.bin, and XNOR layers are its BinaryConvolution. The check allows 1e-3
    where a member has binary layers, because a sign turns on the last bit of a number.

    Of a run on sequences they take ``x`` (B, T) or (B, T, D) and, but for windows of a text, ``lengths``
    (B,), in any batch of any number of steps. Of a run that finds masks the probabilities are (B, K, H, W),
    of pictures of any size that fits; of one that finds boxes decoding and suppression are inside, and the
    outputs are boxes (N, 4), scores, labels and images (N,).

    ``packed``: a .safetensors file of one member of the zoo, whose binary weights are bits; ``predict`` takes
    the file in the place of a run, and gives the very numbers of the run.

    ``calibrated``, of classifiers of pictures: logits are divided by the temperature that the run keeps, so
    that the probabilities of the file are calibrated; UsageError where the run keeps none.

    Only the member that is named is built. What cannot be written leaves an older file as it was
    (ResourceError); a network that the format cannot hold is a UsageError.
    """
    exporting.require_format(Path(to), None if script is None else Path(script))
    kind = kind_of_run(Path(run))
    if kind != "pictures":
        if script is not None:
            raise UsageError("the script labels image files; only a classifier of pictures has one")
        if packed:
            raise UsageError(f"{run} is not a classifier of pictures, and packed files are of these alone")
        if calibrated:
            raise UsageError(f"{run} is not a classifier of pictures, and temperatures are of these alone")
        if exporting.suffix_of(Path(to)) == ".xml":
            raise UsageError(f"{to}: OpenVINO files are of classifiers of pictures; export to .onnx or .pt2")
        other = sequence_exporting if kind == "sequences" else vision_exporting
        return other.export(Path(run), Path(to), member=member, allow_code=allow_code, observer=observer)
    return exporting.export(
        Path(run),
        Path(to),
        member=member,
        script=None if script is None else Path(script),
        packed=packed,
        calibrated=calibrated,
        allow_code=allow_code,
        observer=observer,
    )


def sample(
    run: str | Path,
    prompt: str,
    *,
    length: int = 500,
    temperature: float = 0.8,
    top: int | None = None,
    seed: int = 0,
    member: str = "ensemble",
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> Sampled:
    """Text that a run of the task language writes behind the prompt; equal seeds, equal text.

    UsageError for a run of another task, DataError for a character that the training text lacks.
    """
    if kind_of_run(Path(run)) != "sequences":
        raise UsageError(f"{run} is a run on pictures: a run of the task language writes text")
    return writing.sample(
        Path(run),
        prompt,
        length=length,
        temperature=temperature,
        top=top,
        seed=seed,
        member=member,
        allow_code=allow_code,
        observer=observer,
    )
