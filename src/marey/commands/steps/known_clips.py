"""The clips that a model has learnt from, and the new ones of a class that is added to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from marey.commands.steps.held_out import load_own_data
from marey.data import Clip, content_hash, is_features
from marey.data.text import check_labels, clean_label, join_first, pluralize
from marey.errors import DatasetError, UsageError, VideoError
from marey.models import ActionModel
from marey.prediction import find_clips
from marey.progress import Reporter
from marey.remote_path import as_path
from marey.training.origin import Origin
from marey.training.run_folder import read_origin

LEARNT: Final = "learnt"
"""The key of a model's `made_with` that lists the clips added after its training."""


@dataclass(frozen=True, slots=True)
class AddedClip:
    """A clip that was added to a trained model.

    Attributes:
        label: its class.
        path: absolute path of its file.
        content: hash of its file.
        method: how it was learnt, "retrain" or "imprint".
    """

    label: str
    path: str
    content: str
    method: str

    def as_dict(self) -> dict[str, str]:
        """Return it for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, clip: Clip, method: str) -> AddedClip:
        """Return what is remembered of a clip with a label."""
        return cls(str(clip.label), str(clip.path.absolute()), content_hash(clip.path), method)

    def find(self) -> Clip:
        """Return the clip.

        Raises:
            DatasetError: the file is gone, or another one.
        """
        try:
            content = content_hash(self.path)
        except VideoError as error:
            raise DatasetError(f"{self.path}, which was added as '{self.label}', is gone") from error
        if content != self.content:
            raise DatasetError(f"{self.path}, which was added as '{self.label}', has changed since")
        return Clip(as_path(self.path), self.label)


def added_before(model: ActionModel) -> tuple[AddedClip, ...]:
    """Return the clips that were added to a model after its training."""
    return tuple(AddedClip(**one) for one in model.config.made_with.get(LEARNT, ()))


def origin_of(run: Path, model: ActionModel) -> Origin | None:
    """Return where the data of a model's training are: as its run says, or as the model itself does."""
    return read_origin(run) or Origin.read(model.config.made_with)


def learnt_clips(
    run: Path,
    model: ActionModel,
    data: str | None,
    *,
    group_regex: str | None,
    exclude: Path | None,
    reporter: Reporter,
) -> tuple[Clip, ...]:
    """Return all clips that a model was trained on, those that were added later too.

    Args:
        run: a run, or a model folder.
        model: the model in it.
        data: its training data, where the call names them.
        group_regex: as it was given to the training, if the run does not say so.
        exclude: likewise.
        reporter: hears what was found.

    Raises:
        UsageError: it is not known where the data are, or they are other clips by now.
        DatasetError: they cannot be read.
    """
    origin = origin_of(run, model)
    source = data if data is not None or origin is None else origin.data
    if source is not None and is_features(source):
        raise DatasetError(f"{source} holds features and no video")
    manifest, _ = load_own_data(
        run,
        model,
        data,
        origin=origin,
        group_regex=group_regex,
        exclude=exclude,
        reporter=reporter,
    )
    trained_on = set(model.config.made_with.get("trained_on", ()))
    return (
        *(clip for clip in manifest.clips if _content(clip) in trained_on),
        *(a.find() for a in added_before(model)),
    )


def new_label(text: str, labels: Sequence[str]) -> str:
    """Return the label of a class as it is kept.

    Args:
        text: as given.
        labels: the classes that are there.

    Raises:
        UsageError: it is empty, is no single line, or differs from a class only in case or white space.
    """
    label = clean_label(text)
    if not label or not label.isprintable():
        raise UsageError(f"add={text!r} is no label: give the name of the class, as in --add wave")
    if label not in labels:
        try:
            check_labels({label: "to be added", **dict.fromkeys(labels, "of the model")})
        except DatasetError as error:
            raise UsageError(str(error)) from error
    return label


def new_clips(
    sources: Sequence[str | Path], label: str, model: ActionModel, *, known: Sequence[Clip] | None
) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Return the clips to add, each content once, and notes on those that were left out.

    Args:
        sources: files, folders and glob patterns.
        label: the class.
        model: that they are added to.
        known: the clips that it learnt from; None where they are not at hand.

    Raises:
        UsageError: no clip is left.
        DatasetError: a clip was learnt as another class, or no file is where a pattern looks.
        VideoError: a file is missing.
    """
    trained_on = set(model.config.made_with.get("trained_on", ()))
    labels = {_content(clip): clip.label for clip in known or ()}
    clips: list[Clip] = []
    notes: list[str] = []
    seen: set[str] = set()
    for clip in find_clips(sources):
        content = content_hash(clip.path)
        if content in trained_on:
            learnt = labels.get(content)
            if learnt != label:
                other = "is a training clip of this model" if learnt is None else f"is a training clip of '{learnt}'"
                raise DatasetError(f"{clip.path} {other}, and cannot be '{label}' as well: leave it out")
            notes.append(f"{clip.path} is a training clip of '{label}' already, and is not added again")
        elif content in seen:
            notes.append(f"{clip.path} is the same file as one before it, and is not added again")
        else:
            seen.add(content)
            clips.append(replace(clip, label=label))
    if not clips:
        why = f": {notes[0]}" if notes else ""
        raise UsageError(f"no clip to add to '{label}'{why}; name video files of it, 1 to 5 or more")
    return tuple(clips), tuple(notes)


def require_usable(clips: Sequence[Clip], results: Sequence[Any]) -> None:
    """Refuse new clips that cannot be used: where there are so few, none is left out silently.

    Raises:
        VideoError: the only clip cannot be used.
        DatasetError: some of several cannot.
    """
    failed = [result for result in results if isinstance(result, VideoError)]
    if failed and len(clips) == 1:
        raise failed[0]
    if failed:
        raise DatasetError(
            f"{pluralize(len(failed), 'clip')} of {len(clips)} cannot be used; leave them out: "
            f"{join_first([str(error) for error in failed])}"
        )


def remembering(
    new: ActionModel, old: ActionModel, run: Path, added: Sequence[Clip], method: Literal["retrain", "imprint"]
) -> ActionModel:
    """Return a model that says which clips were added to it, and where the data of its training are.

    Args:
        new: the model with the clips.
        old: the one without them.
        run: its folder.
        added: the clips.
        method: how they were learnt.
    """
    listed = [*added_before(old), *(AddedClip.of(clip, method) for clip in added)]
    trained_on = {*old.config.made_with.get("trained_on", ()), *(clip.content for clip in listed)}
    origin = origin_of(run, old)
    made_with = {
        **new.config.made_with,
        "trained_on": sorted(trained_on),
        LEARNT: [clip.as_dict() for clip in listed],
        **({} if origin is None else {"origin": origin.as_dict()}),
    }
    return replace(new, config=new.config.model_copy(update={"made_with": made_with}))


def _content(clip: Clip) -> str | None:
    try:
        return content_hash(clip.path)
    except VideoError:
        return None
