"""`marey explain`: what in a clip speaks for the answer of a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from marey.atomic import check_writable, write_atomic
from marey.commands.options import Device, Engine, StrPath
from marey.commands.registry import Help, Line, Table, command
from marey.errors import ModelFormatError, UsageError
from marey.progress import AUTO, Reporter

if TYPE_CHECKING:
    from marey.commands.steps.written import Unwritten, Written
    from marey.prediction import Explanation, SpanAnswer

IMAGE, VIDEO, VALUES = "explanation.png", "explanation.mp4", "explanation.json"
"""Files of an explanation, in its folder."""


@dataclass(frozen=True)
class Explained:
    """The answer of `explain`.

    Attributes:
        explanation: of the clip.
        written: requested files.
        unwritten: those that could not be written, each with the reason.
    """

    explanation: Explanation
    written: tuple[Path, ...] = ()
    unwritten: tuple[Unwritten, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return self.explanation.as_dict()


def _show(answer: Explained) -> Iterator[Any]:
    from marey.reports import confidence_text, signed

    found = answer.explanation
    ours, theirs = (confidence_text(found.probability_of(name)) for name in (found.explained, found.rival))
    yield Line(f"{found.explained} {ours}, {found.rival} {theirs}: margin {signed(found.margin)}", "strong")
    streams = Table(("stream", "contribution"), right=("contribution",), whole=("contribution",), one_line=True)
    for stream in found.streams:
        streams.add(stream.name, signed(stream.contribution))
    yield streams
    times = Table(("from", "to", "contribution"), right=("from", "to", "contribution"), one_line=True)
    for start, end, value in zip(found.edges[:-1], found.edges[1:], found.when, strict=True):
        times.add(f"{start:.2f}", f"{end:.2f}", signed(value))
    yield times
    yield from _show_places(found)
    alone, missing = found.sufficient, found.needed
    yield f"alone enough      {_span(alone)}: {alone.label} {confidence_text(alone.confidence)}"
    if missing is None:
        yield "cannot be missed  none: the answer stays the same without any span"
    else:
        yield f"cannot be missed  {_span(missing)}: without it {missing.label} {confidence_text(missing.confidence)}"
    for note in found.notes:
        yield Line(note, "note")
    for path in answer.written:
        yield f"written   {path}"


def _show_places(found: Explanation) -> Iterator[Any]:
    shares = found.place_shares()
    if shares is None:
        return
    yield "places, as shares of what speaks for the class:"
    for row in shares:
        yield "  " + "  ".join(f"{100 * value:3.0f} %" for value in row)


def _span(span: SpanAnswer) -> str:
    return f"{span.start:.2f} to {span.end:.2f} s"


@command(
    "explain",
    panel="Predict",
    examples=(
        "explain runs/first clip.mp4 --out why/",
        "explain runs/first clip.mp4 --class waving --out why-not-waving/",
        "explain runs/first match.mp4 --start 12.5 --end 14 --out why/ --no-video",
    ),
    show=_show,
)
def explain(
    model: StrPath,
    video: Annotated[StrPath, Help("", cli=str)],
    *,
    out: StrPath | None = None,
    class_: str | None = None,
    where: Literal["auto", "occlusion"] = "auto",
    start: float | None = None,
    end: float | None = None,
    no_video: bool = False,
    device: Device = "auto",
    engine: Engine = None,
    reporter: Reporter = AUTO,
) -> Explained:
    """Explain the answer for a clip: which spans, which places of the frame and which streams speak for it.

    Contributions are to the margin, the logarithm of the ratio of the probabilities of two classes: the explained one
    and the most probable other one. Spans are left out, and the model is asked again; for linear heads on features over
    a grid the places add up to the answer exactly. The shortest span that alone gives the same answer is found too.

    Args:
        model: a model folder, or a run with one in it.
        video: the video file.
        out: a folder for the explanation: explanation.png, .mp4 (the clip with heat maps) and .json.
        class_: explain this class in place of the most probable one.
        where: "auto" divides the answer among the cells of the features or of the last feature map, where the model has
            some; "occlusion" covers each of 4 x 4 cells of the images, and asks the model again, which takes longer.
        start: where the clip begins in the file, in seconds.
        end: where it ends, in seconds.
        no_video: write no explanation.mp4, which takes the longest.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.commands.steps.prepare import percent, pick_device
    from marey.data import Clip
    from marey.prediction import Predictor, explain_clip

    path = Path(video)
    if path.is_dir():
        raise UsageError(f"{path} is a folder, and one clip is explained at a time: name a video file")
    begin = 0.0 if start is None else start
    if begin < 0 or (end is not None and end <= begin):
        stop = "" if end is None else f", end={end:g}"
        raise UsageError(f"start={begin:g}{stop}: a clip begins at 0 or later, and ends after that")
    if no_video and out is None:
        raise UsageError("no_video leaves a file out, and none are asked for: add --out FOLDER")
    folder = None if out is None else Path(out)
    if folder is not None:
        _check_folder(folder, path)
    _check_model(model)
    predictor = Predictor(model, device=pick_device(device), engine=engine)
    with percent(reporter, f"explaining {path.name}") as on_progress:
        found = explain_clip(
            predictor, Clip(path, start=start, end=end), label=class_, where=where, on_progress=on_progress
        )
    answer = Explained(found)
    if folder is None:
        return answer
    result = _write(found, path, folder, reporter, video=not no_video)
    return replace(answer, written=result.paths, unwritten=result.failed)


def _check_model(model: StrPath) -> None:
    """Refuse what was never trained, in words that say so.

    Raises:
        ModelFormatError: the name of a recipe.
    """
    from marey.training import recipe_names

    if not Path(model).exists() and str(model) in recipe_names():
        raise ModelFormatError(
            f"'{model}' is a recipe, and only the answers of a trained model are explained: train one with "
            f"`marey train DATA --recipe {model} --out RUN`; labels in words have no model of their own"
        )


def _check_folder(folder: Path, video: Path) -> None:
    """Refuse a folder that cannot be written to, before the work, and one in which the video itself would be replaced.

    Raises:
        UsageError: it says why.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder for the explanation with --out")
    for name in (IMAGE, VIDEO, VALUES):
        check_writable(folder / name)
        if video.exists() and (folder / name).exists() and (folder / name).samefile(video):
            raise UsageError(f"{folder / name} would take the place of the video: name another folder with --out")


def _write(found: Explanation, source: Path, folder: Path, reporter: Reporter, *, video: bool) -> Written:
    from marey.commands.steps.written import Written, written
    from marey.reports import plot_explanation, save_png, write_explanation_video

    def draw_figure() -> None:
        save_png(plot_explanation(found, source), folder / IMAGE)

    def play_back(out: Path) -> None:
        start, end = found.span
        with reporter.stage(f"drawing {out.name}", max(1, round(end - start))) as stage:
            write_explanation_video(found, source, out, on_progress=lambda done: stage.advance(int(done)))

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found.as_dict(), indent=1, ensure_ascii=False) + "\n"
    result = Written()
    result += written(folder / VALUES, partial(write_atomic, folder / VALUES, text, single_writer=True))
    result += written(folder / IMAGE, draw_figure)
    if video:
        result += written(folder / VIDEO, partial(play_back, folder / VIDEO))
    return result
