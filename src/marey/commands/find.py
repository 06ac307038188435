"""`marey find`: the moments of videos that are most like a clip, or that words describe."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from marey.atomic import check_writable, write_atomic
from marey.commands.options import Device, Engine, StrPath
from marey.commands.registry import Help, Line, Table, command
from marey.errors import UnknownNameError, UsageError, did_you_mean
from marey.progress import AUTO, Reporter
from marey.remote_path import as_path

if TYPE_CHECKING:
    from torch import Tensor

    from marey.commands.steps.written import Unwritten
    from marey.data import Clip
    from marey.encoders import Contract, Encoder
    from marey.errors import VideoError
    from marey.prediction import Describer, Hit
    from marey.training import Recipe


WORDS_WINDOW: Final = 2.0
"""Seconds that are compared with words at once, by default."""


@dataclass(frozen=True)
class Found:
    """The answer of `find`.

    Attributes:
        query: the clip or the words that were looked for.
        hits: the most similar segments, best first.
        window: seconds of the windows that were compared.
        windows: how many there were.
        videos: how many videos were searched.
        failed: source and reason of the videos that cannot be used, and are left out.
        written: requested files.
        unwritten: those that could not be written, each with the reason.
    """

    query: str
    hits: tuple[Hit, ...]
    window: float
    windows: int
    videos: int
    failed: tuple[VideoError, ...] = ()
    written: tuple[Path, ...] = ()
    unwritten: tuple[Unwritten, ...] = ()

    @property
    def usable(self) -> bool:
        """True if any video could be searched."""
        return self.videos > len(self.failed)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "query": self.query,
            "window": self.window,
            "windows": self.windows,
            "videos": self.videos,
            "hits": [hit.as_dict() for hit in self.hits],
            "failed": [{"path": each.name, "reason": each.reason, "detail": each.detail} for each in self.failed],
        }


def _show(answer: Found) -> Iterator[Any]:
    from marey.data.text import pluralize
    from marey.reports.style import clock_text

    table = Table(
        ("rank", "source", "from", "to", "similarity"),
        right=("rank", "similarity"),
        whole=("rank", "from", "to", "similarity"),
        one_line=True,
        path="source",
    )
    for rank, hit in enumerate(answer.hits, start=1):
        ends = (clock_text(hit.start), clock_text(hit.end))
        table.add(str(rank), str(hit.path), *ends, f"{hit.similarity:.3f}")
    if table.rows:
        yield table
    elif answer.usable:
        yield Line("nothing is that similar: lower --min-similarity, or leave it out", "warning")
    for failed in answer.failed:
        yield Line(str(failed), "fault")
    windows = pluralize(answer.windows, "window")
    yield f"{windows} of {answer.window:g} s in {pluralize(answer.videos - len(answer.failed), 'video')}"
    for path in answer.written:
        yield f"written   {path}"


@command(
    "find",
    panel="Predict",
    examples=(
        "find runs/first query.mp4 in videos/",
        "find runs/first match.mp4 in videos/ --start 12.5 --end 14 --top 20 --sheet hits.png",
        "find auto query.mp4 in match.mp4 --csv hits.csv",
        'find siglip2-zeroshot "a person waves" in videos/',
    ),
    show=_show,
)
def find(
    model: StrPath,
    query: Annotated[StrPath, Help("", cli=str)],
    sources: Annotated[StrPath | Sequence[StrPath], Help("", cli=list[str])],
    *,
    start: float | None = None,
    end: float | None = None,
    top: int = 10,
    min_similarity: float | None = None,
    window: float | None = None,
    mirror: bool = False,
    words: bool = False,
    csv: StrPath | None = None,
    sheet: StrPath | None = None,
    device: Device = "auto",
    engine: Engine = None,
    reporter: Reporter = AUTO,
) -> Found:
    """Find the moments of videos that are most like a clip, or that words describe, as ranked segments.

    Each window of the videos is compared with the clip by the cosine of their features, as the model standardises
    them: 1 is the same, 0 is as different as two clips of other kinds are on average. Overlapping windows that are
    nearly as similar become one segment. The query's own place is left out. Features are cached, so that the next
    search of the same videos takes seconds. With words, the similarity is the cosine of the video and the sentence.

    Args:
        model: a run or a model folder; or the name of a recipe or of an encoder, which needs no training; for words
            siglip2-zeroshot, clip-zeroshot, xclip-zeroshot, or a YAML file like these.
        query: the video file to look for; or a sentence, such as "a person waves": what is no file and has a space.
        sources: video files of any length, folders of them, or patterns; the word "in" before them may be left out.
        start: where the query begins in its file, in seconds.
        end: where it ends, in seconds.
        top: the largest number of segments.
        min_similarity: leave out what is less similar than this, from -1 to 1.
        window: seconds of video that are compared at once; by default the length of the query, rounded so that searches
            share their features; 2 for words.
        mirror: look for the mirror image of the query as well.
        words: the query is words, even if it is a single one.
        csv: write the segments to this CSV file: path, start, end, similarity.
        sheet: write an image with the middle frame of each segment, as .png or .jpg.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    import torch

    from marey.commands.steps.prepare import percent, pick_device
    from marey.commands.steps.words import open_query
    from marey.commands.steps.written import Written, written
    from marey.encoders import clip_span
    from marey.prediction import Search, window_of
    from marey.reports.hit_sheet import check_sheet, write_hit_sheet

    if top < 1:
        raise UsageError(f"top={top}: at least one segment has to be asked for")
    if min_similarity is not None and not -1 <= min_similarity <= 1:
        raise UsageError(f"min_similarity={min_similarity:g}: a cosine lies from -1 to 1")
    videos = _videos(sources)
    told = str(query) if words or (" " in str(query).strip() and not Path(query).exists()) else None
    asked = None if told is not None else _query(as_path(query), start, end)
    if told is not None:
        _check_words(told, {"start": start, "end": end, "mirror": mirror or None})
    for path in (csv, sheet):
        if path is not None:
            check_writable(Path(path))
    if sheet is not None:
        check_sheet(Path(sheet))
    encoder: Encoder
    describer: Describer
    if asked is None:
        encoder, contract, describer = open_query(
            str(told), _words_recipe(model), device=pick_device(device), engine=engine
        )
        seconds = WORDS_WINDOW
    else:
        encoder, contract, describer = _open(model, pick_device(device), engine)
        first, last = clip_span(asked)
        seconds = last - first
    search = Search(encoder, contract, describer, window=window_of(contract, seconds, window))
    views = () if asked is None else search.read_query(asked, mirrored=mirror)

    def vectors(by: Describer) -> Tensor:
        return by.describe(views) if views else torch.ones(1, 1)

    with percent(reporter, "searching") as on_progress:
        hits = search.find(vectors, videos, without=asked, on_progress=on_progress)
    kept = [hit for hit in hits if min_similarity is None or hit.similarity >= min_similarity][:top]
    failed = tuple({error.name: error for error in search.failed}.values())
    answer = Found(
        asked.id if asked is not None else str(told), tuple(kept), search.window, search.windows, len(videos), failed
    )
    result = Written()
    if csv is not None:
        result += written(Path(csv), partial(_write_hits, kept, Path(csv)))
    if sheet is not None and kept:
        result += written(Path(sheet), partial(write_hit_sheet, kept, Path(sheet)))
    return replace(answer, written=result.paths, unwritten=result.failed)


def _check_words(words: str, of_clips: dict[str, Any]) -> None:
    """Refuse words that say nothing, and options of clips."""
    if not words.strip():
        raise UsageError('the query is empty: write what the video shows, as in "a person waves"')
    given = next((name for name, value in of_clips.items() if value is not None), None)
    if given is not None:
        raise UsageError(f"--{given} is for a clip, and the query '{words}' is words: leave it out")


def _words_recipe(model: StrPath) -> Recipe:
    """Return the recipe whose encoder has a text tower.

    Raises:
        UsageError: a model folder.
    """
    if Path(model).is_dir():
        raise UsageError(
            f"{model} is a trained model, which knows no words: search with siglip2-zeroshot, clip-zeroshot or "
            "xclip-zeroshot, or give a video file as the query"
        )
    return _recipe(str(model))


def _videos(sources: StrPath | Sequence[StrPath]) -> list[Path]:
    """Return the files to search; the first of several words is no file if it is "in"."""
    from marey.prediction import find_clips

    named = [sources] if isinstance(sources, str | Path) else list(sources)
    if len(named) > 1 and str(named[0]) == "in":
        named = named[1:]
    if not named:
        raise UsageError("nothing to search: name videos, or folders of them")
    return [clip.path for clip in find_clips(named)]


def _query(path: Path, start: float | None, end: float | None) -> Clip:
    from marey.data import Clip

    if path.is_dir():
        raise UsageError(f"the query {path} is a folder: give one video file, and the folder after it")
    begin = 0.0 if start is None else start
    if begin < 0 or (end is not None and end <= begin):
        stop = "" if end is None else f", end={end:g}"
        raise UsageError(f"start={begin:g}{stop}: a query begins at 0 or later, and ends after that")
    return Clip(path, start=start, end=end)


def _open(model: StrPath, device: str, engine: str | None) -> tuple[Encoder, Contract, Describer]:
    """Return what features are made and compared with.

    Raises:
        UnknownNameError: neither a folder, nor a recipe, nor an encoder.
        UsageError: its network reads frames, and has no features.
    """
    from marey.encoders import Contract, load_encoder
    from marey.models import HeadSpec, load_model, new_classifier
    from marey.prediction import Predictor, SummaryDescriber

    if Path(model).is_dir():
        trained = load_model(model)
        contract = trained.config.contract
        _require_features(contract, str(model))
        encoder = Predictor(trained, device=device, engine=engine).pipeline.encoder
        assert encoder is not None  # noqa: S101 - the predictor has loaded it
        return encoder, contract, SummaryDescriber(trained.classifier, trained=True)
    recipe = _recipe(str(model))
    encoder = load_encoder(recipe.encoder, frames=recipe.sampling.count, device=device, engine=engine)
    contract = Contract.from_recipe(recipe.with_streams(recipe.selection.first), encoder, multi_view=False)
    _require_features(contract, str(model))
    head = HeadSpec(name="pyramid", options={})
    return encoder, contract, SummaryDescriber(new_classifier(contract, head, 2), trained=False)


def _recipe(name: str) -> Recipe:
    """Return a recipe, or one that gives an encoder the frames as they are.

    Raises:
        UsageError: there is neither.
    """
    from marey.encoders import EncoderSpec, architecture, encoder_names
    from marey.training import load_recipe, recipe_names

    if name in recipe_names() or Path(name).is_file():
        return load_recipe(name)
    recipe = load_recipe("frame-average", changes=[f"encoder={{name: {json.dumps(name)}}}"])
    try:
        architecture(EncoderSpec(name=name), frames=recipe.sampling.count)
    except UnknownNameError as error:
        known = did_you_mean(name, {*recipe_names(), *encoder_names()})
        raise UsageError(f"'{name}' is no run or model folder, no recipe and no encoder; {known}") from error
    return recipe


def _require_features(contract: Contract, name: str) -> None:
    from marey.encoders import PRECOMPUTED

    if contract.gives_images:
        raise UsageError(
            f"{name} is a network trained on frames, which has no features to compare: search with the name of a "
            "recipe whose encoder is frozen, such as auto"
        )
    if contract.encoder.name == PRECOMPUTED:
        raise UsageError(
            f"{name} was trained on features that another program made, and no video can be read as those were: search "
            "with the name of a recipe, such as auto"
        )


def _write_hits(hits: Sequence[Hit], out: Path) -> None:
    """Write the segments as CSV: path, start, end and similarity, best first."""
    from marey.data.csv_cells import CsvWriter
    from marey.reports import check_table_path

    table = io.StringIO()
    rows = CsvWriter(table)
    rows.writerow(("path", "start", "end", "similarity"))
    for hit in hits:
        rows.writerow(
            (check_table_path(hit.path, out), round(hit.start, 6), round(hit.end, 6), f"{hit.similarity:.6f}")
        )
    write_atomic(out, table.getvalue(), single_writer=True)
