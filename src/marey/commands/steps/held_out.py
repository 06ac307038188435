"""The held-out clips of a run: those that each of its models was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from marey.commands.steps.prepare import load_labelled
from marey.data import Clip, Manifest, content_hash, data_hash
from marey.errors import DatasetError, UsageError, VideoError
from marey.evaluation import read_predictions
from marey.models import ActionModel, load_model
from marey.progress import Reporter
from marey.training.origin import Origin, located


@dataclass(frozen=True)
class Fold:
    """A model of a run with its test clips.

    Attributes:
        number: of the fold; None where there was one split.
        model: what was trained.
        test: clips that it did not learn from.
    """

    number: int | None
    model: ActionModel
    test: tuple[Clip, ...]

    def learnt_from(self, clips: Sequence[Clip]) -> tuple[Clip, ...]:
        """Return the clips among these that the model was trained on, known by their content."""
        trained_on = set(self.model.config.made_with.get("trained_on", ()))
        held_out = {clip.id for clip in self.test}
        found = []
        for clip in clips:
            with suppress(VideoError):
                if clip.id not in held_out and content_hash(clip.path) in trained_on:
                    found.append(clip)
        return tuple(found)


def load_own_data(
    run: Path,
    model: ActionModel,
    data: str | None,
    *,
    origin: Origin | None,
    group_regex: str | None,
    exclude: str | Path | None,
    reporter: Reporter,
) -> tuple[Manifest, tuple[str, ...]]:
    """Load the clips that a run was made of, as it read them.

    Args:
        run: the run, or a model.
        model: the model in it.
        data: the data, where the call names them; by default those that the run remembers.
        origin: what the run remembers.
        group_regex: as it was given to the run; by default as the run remembers it.
        exclude: likewise.
        reporter: hears what was found.

    Returns:
        The clips, and the ids of those that were left out by name.

    Raises:
        UsageError: the run does not say what its data are, or they are other clips by now.
    """
    if data is None and origin is None:
        raise UsageError(
            f"{run} does not say which data it was trained on: it is no run, or one of an earlier version; name them"
        )
    named = data if data is not None else origin.data if origin is not None else ""
    if origin is not None:
        group_regex = group_regex or origin.group_regex
        exclude = exclude or (Path(origin.exclude) if origin.exclude is not None else None)
    manifest, excluded = load_labelled(
        named, group_regex=group_regex, exclude=exclude, features="take", reporter=reporter
    )
    if data_hash(manifest) != model.config.made_with.get("data_hash"):
        hint = "name the same data, with the same --group-regex and --exclude"
        if origin is not None and located(named) == origin.data:
            hint = (
                "they have changed since, or are read in another way; to test its model on what is there now, call "
                f"marey evaluate {run} {named} --part all"
            )
        raise UsageError(f"{named} is not what {run} was trained on: {hint}")
    return manifest, excluded


def read_folds(run: Path, model: ActionModel, clips: Sequence[Clip]) -> list[Fold]:
    """Return the trainings of a run, as its predictions.csv and its models tell.

    Args:
        run: the folder of a finished run.
        model: the model in it.
        clips: of its data.

    Raises:
        UsageError: the run is not finished, or was tested on other clips.
    """
    table = run / "predictions.csv"
    if not table.is_file():
        raise UsageError(f"{run} has no {table.name}: it is no run, or one that is not finished; start it again")
    _, rows = read_predictions(table)
    depth, by_tail = _by_tail(clips)
    tested: dict[int | None, list[Clip]] = {}
    for row in rows:
        tail = _tail(row.clip, depth)
        if tail not in by_tail:
            raise UsageError(f"{run} was tested on {row.clip}, which is not among the clips that were named")
        tested.setdefault(row.fold, []).append(by_tail[tail])
    if not tested:
        raise DatasetError(f"{table} holds no clip")
    return [
        Fold(number, model if number is None else load_model(run / "folds" / f"{number:02d}" / "model"), tuple(test))
        for number, test in tested.items()
    ]


def _by_tail(clips: Sequence[Clip]) -> tuple[int, dict[tuple[str, ...], Clip]]:
    """Return clips by the ends of their names, as many parts of each as tell them apart.

    The same data have other names where their folder was named in another way, or has been moved.
    """
    longest = max((len(_tail(clip.id, None)) for clip in clips), default=1)
    for depth in range(1, longest + 1):
        found = {_tail(clip.id, depth): clip for clip in clips}
        if len(found) == len(clips):
            return depth, found
    return longest, {_tail(clip.id, longest): clip for clip in clips}


def _tail(name: str, depth: int | None) -> tuple[str, ...]:
    parts = tuple(name.split("/"))
    return parts if depth is None else parts[-depth:]
