"""`marey learn`: a class added to a trained model from a few clips, and no training of its encoder."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from marey.commands.options import Device, Engine, Exclude, GroupRegex, StrPath
from marey.commands.registry import Help, Line, command
from marey.errors import InputError, UnknownNameError, UsageError
from marey.progress import AUTO, Reporter

if TYPE_CHECKING:
    from marey.data import Clip
    from marey.encoders import Encoder
    from marey.models import ActionModel
    from marey.training import Recipe


@dataclass(frozen=True)
class Learnt:
    """The answer of `learn`.

    Attributes:
        model: the folder of the new model.
        label: the class that the clips were added to.
        clips: how many were added.
        classes: of the new model.
        method: "retrain" or "imprint".
        notes: what the person should know beside that, a sentence each.
    """

    model: Path
    label: str
    clips: int
    classes: tuple[str, ...]
    method: str
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "model": str(self.model),
            "label": self.label,
            "clips": self.clips,
            "classes": list(self.classes),
            "method": self.method,
            "notes": list(self.notes),
        }


def _show(answer: Learnt) -> Iterator[Any]:
    from marey.data.text import pluralize

    how = {
        "retrain": "the head was trained again on all clips",
        "imprint": "the new class was imprinted, and the others were left as they are",
    }
    yield Line(f"'{answer.label}' learnt from {pluralize(answer.clips, 'clip')}: {how[answer.method]}", "strong")
    for note in answer.notes:
        yield Line(note, "note")
    yield f"classes {', '.join(answer.classes)}"
    yield f"model   {answer.model}"
    yield f"next    marey predict {shlex.quote(str(answer.model))} VIDEO"


@command(
    "learn",
    panel="Train and test",
    examples=(
        "learn runs/first --add wave wave_1.mp4 wave_2.mp4",
        "learn runs/first --add wave waves/ --out runs/with-wave",
        "learn model/ --add wave waves/ --method imprint",
    ),
    show=_show,
)
def learn(
    run: StrPath,
    clips: Annotated[StrPath | Sequence[StrPath], Help("", cli=list[str])],
    *,
    add: str,
    out: StrPath | None = None,
    method: Literal["auto", "retrain", "imprint"] = "auto",
    data: StrPath | None = None,
    group_regex: GroupRegex = None,
    exclude: Exclude = None,
    device: Device = "auto",
    engine: Engine = None,
    reporter: Reporter = AUTO,
) -> Learnt:
    """Add a class to a trained model from 1 to 5 clips or more, without training its encoder.

    The clips are encoded, and the head is trained again on their features and those of the training clips, which are
    mostly in the cache. Where the training clips are gone, the weights of the new class are imprinted: the mean
    direction of its clips. The answer is a new model folder, and the old one stays as it is. With the name of a class
    that the model has, the clips are added to that class.

    Args:
        run: the folder that `marey train` or `marey learn` wrote, or the model folder in it.
        clips: video files of the class, folders of them, or patterns such as 'waves/*.mp4'.
        add: the name of the class.
        out: folder of the new model; by default beside the run, with the label after its name.
        method: "retrain" trains the head again on all clips; "imprint" adds the class alone; "auto" retrains if the
            training clips are there.
        data: the training data, if the run does not name them: a folder of class folders, a manifest, or the name of a
            data set.
        group_regex: as given to `marey train`, if the run does not name it.
        exclude: likewise.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.atomic import check_writable
    from marey.commands.steps.few_clips import few_clips
    from marey.commands.steps.known_clips import learnt_clips, new_clips, new_label, remembering
    from marey.commands.steps.prepare import pick_device
    from marey.models import check_output_dir, load_model, save_model
    from marey.prediction import Predictor
    from marey.reports.image_io import label_name

    if method not in ("auto", "retrain", "imprint"):
        raise UnknownNameError("method", method, ("auto", "retrain", "imprint"))
    run, data = Path(run), None if data is None else str(data)
    sources = [clips] if isinstance(clips, str | Path) else list(clips)
    model = load_model(run)
    _check_kind(run, model)
    label = new_label(add, model.labels)
    place = Path(out) if out is not None else run.with_name(f"{run.resolve().name}-{label_name(label)}")
    check_output_dir(place)
    check_writable(place / "config.json")
    recipe = _recipe_of(model)
    known: tuple[Clip, ...] | None = None
    why = "the model does not say by which recipe it was trained"
    if method != "imprint" and recipe is not None:
        try:
            excluded = None if exclude is None else Path(exclude)
            known = learnt_clips(run, model, data, group_regex=group_regex, exclude=excluded, reporter=reporter)
        except (InputError, UsageError) as error:
            if method == "retrain" or data is not None:
                raise
            why = f"its training clips are not at hand ({error})"
    added, notes = new_clips(sources, label, model, known=known)
    if known is None:
        _check_imprinting(model, label, "method=imprint adds a class alone" if method == "imprint" else why)
        if method == "auto":
            notes = (*notes, f"imprinted, because {why}: with --data FOLDER the head is trained on all clips")
    encoder = Predictor(model, device=pick_device(device), engine=engine).pipeline.encoder
    assert encoder is not None  # noqa: S101 - the predictor has loaded it
    new = _with_clips(model, recipe, encoder, known, added, reporter)
    used: Literal["retrain", "imprint"] = "imprint" if known is None else "retrain"
    save_model(remembering(new, model, run, added, used), place)
    few = few_clips({label: len(added) + sum(clip.label == label for clip in known or ())})
    test = f"no other clip of '{label}' has tested this yet: marey evaluate {shlex.quote(str(place))} CLIPS"
    return Learnt(place, label, len(added), new.labels, used, (*notes, *(() if few is None else (few,)), test))


def _check_kind(run: Path, model: ActionModel) -> None:
    from marey.encoders import PRECOMPUTED

    contract = model.config.contract
    if contract.encoder.name == PRECOMPUTED:
        raise UsageError(
            f"{run} was trained on features that another program made, and a clip cannot be read as those were: make "
            "the features of the new clips too, and train on all of them"
        )
    if contract.gives_images:
        raise UsageError(
            f"'{model.config.head.name}' in {run} is a network trained on frames, and takes a new class only by "
            "training it again: put the clips in a class folder beside the others, and call marey train"
        )


def _check_imprinting(model: ActionModel, label: str, why: str) -> None:
    from marey.models import is_imprintable

    if label in model.labels:
        raise UsageError(
            f"'{label}' is a class of this model, and clips are added to a class by training the head again, but "
            f"{why}: name the training data with --data FOLDER"
        )
    if not is_imprintable(model.classifier):
        raise UsageError(
            f"the head '{model.config.head.name}' takes a new class only by training it again, but {why}: name the "
            "training data with --data FOLDER"
        )


def _recipe_of(model: ActionModel) -> Recipe | None:
    """Return the recipe that a model was trained by; None where it does not say so."""
    from pydantic import ValidationError

    from marey.training import Recipe

    try:
        return Recipe.model_validate(model.config.made_with.get("recipe"))
    except ValidationError:
        return None


def _with_clips(
    model: ActionModel,
    recipe: Recipe | None,
    encoder: Encoder,
    known: Sequence[Clip] | None,
    added: Sequence[Clip],
    reporter: Reporter,
) -> ActionModel:
    """Return the model of all clips: trained again where the known ones are at hand, else imprinted."""
    from marey.commands.steps.known_clips import require_usable
    from marey.commands.steps.prepare import watched
    from marey.encoders import FeatureCache, iterate_views
    from marey.errors import VideoError
    from marey.models import imprint
    from marey.training import Experiment

    label = str(added[0].label)
    contract = model.config.contract
    views = contract.testing.views[:1] if recipe is None else recipe.views.readings
    clips = [*added, *(known or ())]
    with watched(reporter, "reading clips", len(clips)) as watch:
        readings = [(clip, views) for clip in clips]
        found = list(iterate_views(readings, encoder, contract, cache=FeatureCache(), on_progress=watch))
    require_usable(added, found[: len(added)])
    if known is None or recipe is None:
        usable = [one for one in found if not isinstance(one, VideoError)]
        return imprint(model, label, [one[view] for one in usable for view in views])
    experiment = Experiment(
        clips,
        [[one if isinstance(one, VideoError) else one[view] for one in found] for view in views],
        labels=tuple(dict.fromkeys((*model.labels, label))),
        contract=contract,
        recipe=recipe,
        made_with=model.config.made_with,
        device=encoder.device.type,
    )
    with reporter.stage("training", 1) as stage, tempfile.TemporaryDirectory(prefix="marey-learn-") as folder:
        trained = experiment.train(range(len(clips)), seed=recipe.seed, out=Path(folder))
        stage.advance(1)
    return replace(trained.model, network=model.network)
