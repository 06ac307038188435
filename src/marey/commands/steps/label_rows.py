"""`marey predict --out FILE.parquet`: rows by the threads of this process, or by a cluster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from marey.cluster import Crashed, Pool, connect
from marey.cluster.prediction import Labelled, Labelling
from marey.commands.steps.clip_results import Cluster
from marey.commands.steps.label_answer import LabelledRows
from marey.commands.steps.prediction_rows import PredictionRows
from marey.data import Clip
from marey.data.hashing import values_hash
from marey.errors import VideoError
from marey.prediction import Prediction, Predictor, Segmentation, Way, timeline_of
from marey.progress import Reporter


def label_rows(
    predictor: Predictor,
    clips: Sequence[Clip],
    out: str | Path,
    *,
    way: Way,
    rules: dict[str, Any],
    rule: Segmentation,
    cluster: Cluster | None,
    reporter: Reporter,
) -> LabelledRows:
    """Label clips or videos, and write a row for each clip or window.

    Args:
        predictor: the model, loaded here.
        clips: to be labelled.
        out: the Parquet file; rows that are in it are kept where their videos, model and rules are the same.
        way: of watching a video.
        rules: arguments of `Predictor.predict`, for whole clips.
        rule: windows and what is a segment, for the others.
        cluster: None for this process.
        reporter: of the progress.

    Raises:
        UsageError: the file is something else, or cannot be written.
    """
    job = Labelling.of(
        predictor.model,
        predictor.encoder,
        device=predictor.encoder.device.type,
        engine=None,
        way=way,
        rules=rules,
        rule=rule,
    )
    made_by = values_hash(
        [job.model.hash, way, rules if way == "clip" else rule.model_dump(mode="json"), predictor.encoder.cache_tag]
    )
    rows = PredictionRows(out, predictor.labels, made_by, clips)
    rest = rows.rest
    todo = [clips[place] for place in rest]
    answers = _here(predictor, todo, job) if cluster is None else _there(predictor, todo, job, cluster, reporter)
    failed: dict[int, str] = {}
    with reporter.stage("labelling", len(todo)) as stage, closing(answers):
        try:
            for done, (place, answer) in enumerate(answers, start=1):
                if isinstance(answer, Prediction) and answer.reason is not None:
                    failed[rest[place]] = f"{answer.reason}: {answer.detail}"
                rows.add(rest[place], answer)
                stage.advance(done, f"{len(failed)} unusable" if failed else "")
        finally:
            rows.flush()
    rows.finish()
    return LabelledRows(
        str(rows.out),
        len(clips),
        {clips[place].id: why for place, why in sorted(failed.items())},
        len(clips) - len(rest),
    )


def _here(predictor: Predictor, clips: Sequence[Clip], job: Labelling) -> Generator[tuple[int, Labelled], None, None]:
    if job.way == "clip":
        yield from enumerate(predictor.predict(clips, **job.rules))
        return
    for place, clip in enumerate(clips):
        try:
            yield place, timeline_of(predictor, clip, job.way, job.rule)
        except VideoError as error:
            yield place, Prediction(clip.id, (), (), error.reason, error.detail)


def _there(
    predictor: Predictor, clips: Sequence[Clip], job: Labelling, cluster: Cluster, reporter: Reporter
) -> Generator[tuple[int, Labelled], None, None]:
    if not clips:
        return
    sent = [replace(clip, path=clip.path.absolute()) for clip in clips]
    with connect(cluster.on) as connection:
        device, share = cluster.share(connection)
        if device != predictor.encoder.device.type:
            job = replace(job, device=device, engine=cluster.engine)
        pool: Pool[Clip, Labelled] = Pool(
            connection, partial(Labelling.start, job), share=share, actors=cluster.actors, say=reporter.say
        )
        with closing(pool.run(sent)) as found:
            for place, answer in found:
                if isinstance(answer, Crashed):
                    yield place, Prediction(clips[place].id, (), (), "crashed", answer.detail)
                else:
                    yield place, answer
