"""`marey quantize`: the encoder of a trained run in int8, and its loss of accuracy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marey.commands.options import Engine, Exclude, GroupRegex, StrPath
from marey.commands.registry import Line, Table, command
from marey.errors import DatasetError, UsageError, VideoError
from marey.progress import AUTO, Reporter

if TYPE_CHECKING:
    from marey.commands.steps.held_out import Fold
    from marey.data import Clip
    from marey.encoders import Encoder, FrozenBackbone
    from marey.models import ActionModel

_IMAGES: Final = 300  # that the ranges come from, at most
_CLIPS: Final = 100  # that those are of, at most
_HARDLY: Final = 1.2  # times as fast


@dataclass(frozen=True)
class Figures:
    """Accuracy, speed and size of a model.

    Attributes:
        accuracy: share of the held-out clips that it labels rightly; one that cannot be read counts as wrong.
        clips_per_second: from file to label, on this machine.
        megabytes: of its encoder's numbers.
        engine: what ran the encoder.
    """

    accuracy: float
    clips_per_second: float
    megabytes: float
    engine: str


@dataclass(frozen=True)
class Quantized:
    """The answer of `quantize`.

    Attributes:
        model: the folder of the model in int8.
        clips: how many were held out, and tested.
        folds: over how many trainings; 1 where there was one split.
        images: of training clips, that the ranges of the model in `model` come from.
        float32: the model as it was trained.
        int8: the same with its encoder in int8.
        changed: clips that got another label.
        notes: what the person should know beside the numbers.
    """

    model: Path
    clips: int
    folds: int
    images: int
    float32: Figures
    int8: Figures
    changed: int
    notes: tuple[str, ...]

    @property
    def difference(self) -> float:
        """Accuracy of int8, less that of float32."""
        return self.int8.accuracy - self.float32.accuracy

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "model": str(self.model), "difference": self.difference}


def _show(answer: Quantized) -> Iterator[Any]:
    columns = ("encoder in", "accuracy", "clips a second", "MB", "run by")
    table = Table(columns, right=columns[1:4])
    for name, found in (("float32", answer.float32), ("int8", answer.int8)):
        numbers = (f"{found.accuracy:.3f}", f"{found.clips_per_second:.2f}", f"{found.megabytes:.1f}")
        table.add(name, *numbers, found.engine)
    yield table
    verdict = f"int8 changes the accuracy by {answer.difference:+.3f}: {answer.changed} of {answer.clips} held-out"
    yield Line(f"{verdict} clips get another label", "strong")
    for note in answer.notes:
        yield Line(note, "note")
    yield f"model   {answer.model}"


@command(
    "quantize",
    panel="Train and test",
    examples=("quantize runs/first", "quantize runs/first --out runs/first-int8"),
    show=_show,
    aliases=("quantise",),
)
def quantize(
    run: StrPath,
    data: StrPath | None = None,
    *,
    out: StrPath | None = None,
    group_regex: GroupRegex = None,
    exclude: Exclude = None,
    engine: Engine = None,
    reporter: Reporter = AUTO,
) -> Quantized:
    """Quantize the encoder of a trained run to int8, and measure the loss of accuracy and the gain in speed.

    The encoder is calibrated on the training clips of the run, and both models are tested on its test clips. After
    cross-validation this is done fold by fold, so that no clip is tested by a model that was calibrated on it. The new
    model folder is used like any other.

    Args:
        run: the folder that `marey train` wrote.
        data: the training data, if the run does not name them: a folder of class folders, a manifest, or the name of a
            data set.
        out: folder of the new model; by default beside the run, with -int8 after its name.
        group_regex: as given to `marey train`, if the run does not name it.
        exclude: likewise.
        engine: the engine that runs the encoder in float32: auto (the fastest here), pytorch, openvino or onnxruntime;
            by default the value of MAREY_ENGINE, else auto.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.atomic import check_writable
    from marey.commands.steps.cost import clips_per_second
    from marey.commands.steps.held_out import load_own_data, read_folds
    from marey.encoders import family_of
    from marey.models import check_output_dir, load_model, save_model
    from marey.training.run_folder import read_origin

    run, data = Path(run), None if data is None else str(data)
    place = Path(out) if out is not None else run.with_name(f"{run.resolve().name}-int8")
    check_output_dir(place)
    check_writable(place / "config.json")
    model = load_model(run)
    _check_kind(run, model)
    manifest, _ = load_own_data(
        run,
        model,
        data,
        origin=read_origin(run),
        group_regex=group_regex,
        exclude=None if exclude is None else Path(exclude),
        reporter=reporter,
    )
    folds = read_folds(run, model, manifest.clips)
    encoder = model.load_encoder(engine=engine)
    network = family_of(model.config.contract.encoder).backbone(model.config.contract.encoder)
    megabytes = sum(values.numel() * values.element_size() for values in network.state_dict().values()) / 1e6
    answers: list[_Answer] = []
    with reporter.stage("calibrating and testing", len(folds) + 1) as stage:
        for number, fold in enumerate(folds):
            stage.advance(number)
            small, images = _in_int8(fold.model, network, _learnt_from(run, fold, manifest.clips))
            answers += _ask(fold, encoder, small)
        stage.advance(len(folds))
        if len(folds) > 1:
            small, images = _in_int8(model, network, manifest.clips)
        readable = [answer.clip for answer in answers if answer.float32 is not None]
        if not readable:
            raise DatasetError(f"none of the {len(answers)} clips that {run} was tested on can be read")
        fast = clips_per_second(model, readable, device="cpu", engine=engine)
        faster = clips_per_second(small, readable, device="cpu")
        stage.advance(len(folds) + 1)
    assert small.network is not None  # noqa: S101 - it was made here
    result = Quantized(
        model=place,
        clips=len(answers),
        folds=len(folds),
        images=images,
        float32=Figures(_share(a.float32 == a.label for a in answers), fast, megabytes, encoder.engine),
        int8=Figures(_share(a.int8 == a.label for a in answers), faster, len(small.network.weights) / 1e6, "openvino"),
        changed=sum(a.float32 != a.int8 for a in answers),
        notes=_notes(faster / fast, len(folds)),
    )
    figures = {key: value for key, value in result.as_dict().items() if key not in ("model", "notes")}
    made_with = {**small.config.made_with, "int8": {**figures, "float32_encoder": encoder.hash}}
    config = small.config.model_copy(update={"made_with": made_with})
    save_model(replace(small, config=config), place)
    return result


@dataclass(frozen=True)
class _Answer:
    """A held-out clip with its label and the labels predicted in float32 and int8; None if it cannot be read."""

    clip: Clip
    label: str | None
    float32: str | None
    int8: str | None


def _check_kind(run: Path, model: ActionModel) -> None:
    from marey.encoders import family_of

    spec = model.config.contract.encoder
    if spec.precision != "float32":
        raise UsageError(f"{run} is in {spec.precision}, and int8 is made of a run in float32")
    if not family_of(spec).quantizable:
        raise UsageError(
            f"the encoder of {run} is '{spec.name}', and what is put into int8 here are encoders of single images: "
            "efficientnet-lite0, or any network of timm"
        )


def _learnt_from(run: Path, fold: Fold, clips: Sequence[Clip]) -> tuple[Clip, ...]:
    found = fold.learnt_from(clips)
    if not found:
        raise DatasetError(f"none of the clips that {run} learned from can be read: its ranges cannot be measured")
    return found


def _in_int8(model: ActionModel, network: FrozenBackbone, clips: Sequence[Clip]) -> tuple[ActionModel, int]:
    """Return a model with its encoder in int8, and the number of images that calibrated it."""
    import torch

    from marey.encoders import feature_streams, quantise_network, read_clip

    contract = model.config.contract
    seen_by_encoder = tuple(name for name in contract.streams if name not in feature_streams(contract.streams))
    if not seen_by_encoder:
        raise UsageError("the streams of this run make their features themselves: there is no encoder to put into int8")
    chosen = clips[:: -(-len(clips) // _CLIPS)]
    each = max(1, _IMAGES // (len(chosen) * len(seen_by_encoder)))
    images = []
    for clip in chosen:
        with suppress(VideoError):
            for stream in read_clip(clip, contract, streams=seen_by_encoder).values():
                images.append(stream[:: -(-len(stream) // each)])
    if not images:
        raise DatasetError(f"none of {len(chosen)} training clips can be read: the ranges cannot be measured")
    seen = torch.cat(images)
    found = quantise_network(network, seen)
    spec = contract.encoder.model_copy(update={"precision": "int8"})
    changed = contract.model_copy(update={"encoder": spec, "encoder_hash": found.hash})
    config = model.config.model_copy(update={"contract": changed})
    return replace(model, config=config, network=found), len(seen)


def _ask(fold: Fold, encoder: Encoder, small: ActionModel) -> list[_Answer]:
    """Return the labels that both models predict for a fold; int8 features belong to the fold and are not kept."""
    from marey.encoders import FeatureCache
    from marey.prediction import Predictor

    with tempfile.TemporaryDirectory(prefix="marey-") as folder:
        predictors = (Predictor(fold.model, encoder=encoder), Predictor(small, cache=FeatureCache(folder)))
        predicted = [[_name(found, fold.model) for found in each.probabilities(fold.test)] for each in predictors]
    return [
        _Answer(clip, clip.label, *both) for clip, both in zip(fold.test, zip(*predicted, strict=True), strict=True)
    ]


def _name(probabilities: tuple[float, ...] | VideoError, model: ActionModel) -> str | None:
    if isinstance(probabilities, VideoError):
        return None
    return model.labels[max(range(len(probabilities)), key=lambda place: probabilities[place])]


def _share(right: Iterable[bool]) -> float:
    found = list(right)
    return sum(found) / len(found)


def _notes(gain: float, folds: int) -> tuple[str, ...]:
    notes = []
    if gain < _HARDLY:
        notes.append(
            f"int8 is {gain:.2f} times as fast here, from file to label: it pays on CPUs with int8 "
            "instructions (VNNI, AMX)"
        )
    if folds > 1:
        notes.append(f"tested in {folds} folds, each with ranges of its own training clips; the model has those of all")
    return tuple(notes)
