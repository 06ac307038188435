"""`marey demo`: drawn clips, a training, and predictions for new clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marey.commands.options import StrPath
from marey.commands.registry import command
from marey.progress import AUTO, Reporter

if TYPE_CHECKING:
    from marey.commands.steps.predictions import Predictions
    from marey.commands.steps.results import EvaluationResult
    from marey.commands.steps.written import Unwritten

NEWCOMER = 25
"""The actor of the new clips: the last one, who is in no smaller set."""

FOLDS = 4
"""Folds of the cross-validation: with a dozen people, the three of one split say little of the others."""


@dataclass(frozen=True)
class Demonstration:
    """The answer of `demo`.

    Attributes:
        result: of the training.
        new_clips: predictions for new clips of a person that is not in the training data.
    """

    result: EvaluationResult
    new_clips: Predictions

    @property
    def unwritten(self) -> tuple[Unwritten, ...]:
        """The annotated videos that could not be written."""
        return self.new_clips.unwritten

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"training": self.result.as_dict(), "new_clips": self.new_clips.as_dict()}


def _show(answer: Demonstration) -> Iterator[Any]:
    from marey.commands.steps.prediction_lines import show_labels
    from marey.commands.train import show_result

    yield from show_result(answer.result)
    yield "\nNew clips of a person that is not in the training data:"
    yield from show_labels(answer.new_clips)


@command("demo", examples=("demo", "demo --out runs/demo --actors 24"), show=_show)
def demo(
    *,
    out: StrPath = Path("runs/demo"),
    actors: int = 12,
    scenarios: str = "d1",
    seed: int = 0,
    reporter: Reporter = AUTO,
) -> Demonstration:
    """Draw a small data set, train and cross-validate a model on it, and label new clips.

    Args:
        out: folder for the clips, the run and the new clips.
        actors: number of people to draw, 4 to 24.
        scenarios: some of d1, d2, d3, d4, separated by commas.
        seed: the random seed of the drawings and the training.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.commands.data import make
    from marey.commands.predict import predict
    from marey.commands.steps.predictions import Predictions
    from marey.commands.train import train
    from marey.errors import UsageError
    from marey.synthetic import ACTIONS, FRAME_RATE, draw
    from marey.video import write_video

    out = Path(out)
    if not 4 <= actors < NEWCOMER:
        raise UsageError(f"actors={actors}: the demo needs 4 to {NEWCOMER - 1}, and keeps actor {NEWCOMER} for the end")
    made = make(out / "clips", actors=actors, scenarios=scenarios, seed=seed, reporter=reporter)
    result = train(
        str(made.path), out=out / "run", folds=str(FOLDS), set=[f"seed={seed}"], if_exists="restart", reporter=reporter
    )
    new = out / "new"
    new.mkdir(parents=True, exist_ok=True)
    paths = []
    for action in ACTIONS:
        path = new / f"{action}.mp4"
        write_video(path, draw(action, actor=NEWCOMER, scenario="d1", seed=seed), frame_rate=FRAME_RATE)
        paths.append(str(path))
    labelled = predict(result.model, paths, annotate=out / "annotated", reporter=reporter)
    assert isinstance(labelled, Predictions)  # noqa: S101 - of files, as whole clips
    return Demonstration(result, labelled)
