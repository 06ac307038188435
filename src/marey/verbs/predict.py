"""`marey predict`: labels for new video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marey.errors import UsageError
from marey.verbs.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from marey.prediction import Prediction


@dataclass(frozen=True)
class Predictions:
    """What `predict` answers, one prediction a clip.

    Attributes:
        predictions: in the order of the sources.
        top: how many classes are shown of each.
    """

    predictions: tuple[Prediction, ...]
    top: int

    @property
    def usable(self) -> bool:
        """Whether any clip could be used."""
        return any(prediction.reason is None for prediction in self.predictions)

    def as_dict(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [prediction.as_dict(self.top) for prediction in self.predictions]


def predict(
    model: Path,
    sources: list[str],
    *,
    top: int = 3,
    device: str = "auto",
    reporter: Reporter = SILENT,
) -> Predictions:
    """Say which action each clip shows, and how sure that is.

    Args:
        model: a model folder, or a run with one in it.
        sources: video files, folders of them, or patterns such as 'clips/*.mp4'.
        top: how many classes to give, the most probable first.
        device: where to run: auto, cpu or cuda.
    """
    from marey.prediction import Predictor
    from marey.verbs.prepare import pick_device, watched

    if top < 1:
        raise UsageError(f"top={top}: at least one class has to be given")
    predictor = Predictor(model, device=pick_device(device))
    with watched(reporter, "reading clips", len(sources)) as watch:
        found = predictor.predict(sources, on_progress=watch)
    return Predictions(tuple(found), top)
