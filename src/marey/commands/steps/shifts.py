"""The test clips of an evaluation under shifts: copies are made, read and removed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from marey.atomic import write_atomic
from marey.commands.steps.guarantees import guarantees
from marey.commands.steps.held_out import Fold
from marey.commands.steps.results import to_row
from marey.data import Clip
from marey.encoders import Encoder, FeatureCache
from marey.errors import VideoError
from marey.evaluation import ClipResult, Evaluation, ShiftResult
from marey.json_text import json_text
from marey.models import ActionModel
from marey.prediction import Answer, Predictor
from marey.progress import Reporter
from marey.video import SHIFTS, Shift, write_shifted


def shifted(
    evaluation: Evaluation, folds: Sequence[Fold], encoder: Encoder, final: ActionModel, reporter: Reporter
) -> tuple[ShiftResult, ...]:
    """Test the clips of an evaluation once more after each shift, each by the same model as before.

    The copies of one clip at a time lie in a temporary folder, and their features are not kept.

    Args:
        evaluation: of the clips as they are.
        folds: models with their test clips.
        encoder: of the models.
        final: the model that is handed over.
        reporter: hears how far it is.
    """
    clips = [clip for fold in folds for clip in fold.test]
    models = {fold.number: fold.model for fold in folds}
    plain = guarantees(evaluation, clips, models, final)
    found = [ShiftResult.of("none", "the clips as they are", evaluation, plain)]
    for name, shift in SHIFTS.items():
        rows: list[ClipResult] = []
        with reporter.stage(f"clips, {name}", len(clips)) as stage:
            for fold in folds:
                for clip in fold.test:
                    answers = _answers(clip, shift, fold.model, encoder)
                    rows.append(to_row(clip, answers, fold.model, fold=fold.number))
                    stage.advance(len(rows))
        changed = replace(evaluation, rows=tuple(rows))
        found.append(ShiftResult.of(name, shift.meaning, changed, guarantees(changed, clips, models, final)))
    return tuple(found)


def _answers(clip: Clip, shift: Shift, model: ActionModel, encoder: Encoder) -> list[Answer] | VideoError:
    with TemporaryDirectory(prefix="marey-shift-") as folder:
        copy = Path(folder) / "copy.mp4"
        try:
            write_shifted(clip.path, copy, shift, start=clip.start, end=clip.end)
        except VideoError as error:
            return error
        predictor = Predictor(model, encoder=encoder, cache=FeatureCache(Path(folder) / "features"))
        (answers,) = predictor.view_answers([Clip(copy)])
        return answers


def write_shifts(found: Sequence[ShiftResult], path: Path) -> None:
    """Write `shifts.json`."""
    text = json_text([each.as_dict() for each in found], indent=1)
    write_atomic(path, text + "\n", single_writer=True)
