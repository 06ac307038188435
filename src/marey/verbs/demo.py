"""`marey demo`: everything once, from nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marey.verbs.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from marey.verbs.predict import Predictions
    from marey.verbs.results import EvaluationResult
    from marey.verbs.written import Unwritten

NEWCOMER = 25
"""The actor of the clips that are predicted at the end: the last one, so that no smaller set holds him."""

FOLDS = 4
"""Everyone is tested once: of a dozen people, the three that one split would hold out say little of the others."""


@dataclass(frozen=True)
class Demonstration:
    """What `demo` answers.

    Attributes:
        result: of the training.
        new_clips: predictions for clips of someone the model has never seen, drawn afresh.
    """

    result: EvaluationResult
    new_clips: Predictions

    @property
    def unwritten(self) -> tuple[Unwritten, ...]:
        """The annotated videos that could not be written."""
        return self.new_clips.unwritten

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"training": self.result.as_dict(), "new_clips": self.new_clips.as_dict()}


def demo(
    *,
    out: Path = Path("runs/demo"),
    actors: int = 12,
    scenarios: str = "d1",
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> Demonstration:
    """Draw a small data set, train on it, test everyone by a model that did not see them, and label new clips.

    Args:
        out: folder for the clips, the run and the new clips.
        actors: how many people to draw, 4 to 24.
        scenarios: which of d1, d2, d3, d4, with commas.
        seed: of the drawings and of the training.
    """
    from marey.errors import UsageError
    from marey.synthetic import ACTIONS, FRAME_RATE, draw
    from marey.verbs.data import make
    from marey.verbs.predict import Predictions, predict
    from marey.verbs.train import train
    from marey.video import write_video

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
