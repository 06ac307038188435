"""`marey evaluate`: what a model is worth on a test set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from marey.errors import DatasetError
from marey.verbs.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from marey.verbs.results import EvaluationResult


def evaluate(
    model: Path,
    data: str,
    *,
    out: Path,
    part: Literal["auto", "train", "val", "test", "all"] = "auto",
    frame_order: Literal["given", "reversed", "shuffled"] = "given",
    group_regex: str | None = None,
    exclude: Path | None = None,
    device: str = "auto",
    reporter: Reporter = SILENT,
) -> EvaluationResult:
    """Test a model on labelled clips: metrics, predictions and a report.

    Clips that the model was trained on are found by their content, and said beside the numbers.

    Args:
        model: a model folder, or a run with one in it.
        data: a folder of class folders, a manifest (CSV or Parquet), or the name of a data set.
        out: folder for metrics.json, predictions.csv and report.html.
        part: which part of the data set's own split; "auto" takes the test part where there is one, else all.
        frame_order: "shuffled" or "reversed" hands the model the same frames in another order: what it loses is
            what it knows of time.
        group_regex: takes the group of a clip from the first capture in its path, or names a known pattern.
        exclude: a quarantine list, as `marey data scan` writes it: these clips are left out, and counted.
        device: where to run: auto, cpu or cuda.
    """
    from marey.data import data_hash
    from marey.evaluation import Evaluation
    from marey.prediction import Predictor
    from marey.verbs.prepare import load_labelled, pick_device, watched
    from marey.verbs.results import EvaluationResult, leaks_from_training, to_row, write_results

    predictor = Predictor(model, device=pick_device(device))
    manifest, excluded = load_labelled(data, group_regex=group_regex, exclude=exclude, reporter=reporter)
    parts = {clip.split for clip in manifest.clips}
    wanted = ("test" if "test" in parts else "all") if part == "auto" else part
    clips = [clip for clip in manifest.clips if wanted in ("all", clip.split)]
    if not clips:
        named = ", ".join(sorted(str(name) for name in parts if name)) or "none"
        raise DatasetError(f"no clip of {manifest.source} is in the part '{wanted}'; the parts it names: {named}")
    with watched(reporter, "reading clips", len(clips)) as watch:
        results = predictor.view_probabilities(clips, order=frame_order, on_progress=watch)
    protocol = f"{'the test' if wanted == 'test' else 'all' if wanted == 'all' else f'the {wanted}'} clips of the data"
    if frame_order != "given":
        protocol += f", frames {frame_order}"
    evaluation = Evaluation(
        labels=predictor.labels,
        rows=tuple(to_row(clip, result, predictor.labels) for clip, result in zip(clips, results, strict=True)),
        leaks=leaks_from_training(predictor.model.config, clips),
        protocol=protocol,
        data_hash=data_hash(manifest.with_clips(clips)),
        seed=int(predictor.model.config.made_with.get("recipe", {}).get("seed", 0)),
        excluded=excluded,
    )
    page = write_results(
        evaluation,
        clips,
        Path(out),
        title=f"{Path(model).resolve().name} on {Path(data).name}",
        facts={"groups": manifest.grouping, "data": manifest.source},
    )
    return EvaluationResult(evaluation.metrics, Path(out), page, Path(model))
