"""`marey diagnose`: what would help a run most: more clips, other labels, or fewer copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marey.commands.options import Device, Engine, StrPath
from marey.commands.registry import Line, command
from marey.progress import AUTO, Reporter

if TYPE_CHECKING:
    from marey.evaluation import DataFindings


@dataclass(frozen=True)
class Diagnosis:
    """The answer of `diagnose`.

    Attributes:
        findings: what was found.
        folder: where diagnosis.html, diagnosis.json and diagnosis.csv lie.
        page: the page.
    """

    findings: DataFindings
    folder: Path
    page: Path

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"folder": str(self.folder), "page": str(self.page), **self.findings.as_dict()}


def _show(answer: Diagnosis) -> Iterator[Any]:
    from marey.reports.findings import copies_text, curve_text, labels_text

    found = answer.findings
    if found.curve is not None:
        yield Line(curve_text(found.curve), "strong")
    yield Line(labels_text(found), "strong")
    for one in found.suspects[:_LISTED]:
        yield f"  {found.clips[one.clip].id}: {found.labels[one.label]}, looks like {found.labels[one.suggested]}"
    yield Line(copies_text(found), "strong")
    for pair in found.duplicates[:_LISTED]:
        yield f"  {found.clips[pair.first].id} = {found.clips[pair.second].id}"
    for note in found.notes:
        yield Line(note, "note")
    yield f"page   {answer.page}"


_LISTED = 5


@command(
    "diagnose",
    panel="Train and test",
    examples=("diagnose runs/first", "diagnose runs/first --out runs/first-diagnosis"),
    show=_show,
)
def diagnose(
    run: StrPath,
    data: StrPath | None = None,
    *,
    out: StrPath | None = None,
    device: Device = "auto",
    engine: Engine = None,
    reporter: Reporter = AUTO,
) -> Diagnosis:
    """Say what would help a run most: more clips, other labels, or fewer copies.

    Answers from the features of the run's clips, which are cached: whether more groups would help (a learning curve
    and its continuation), which labels look wrong (confident learning on out-of-fold predictions), which clips of
    different groups are copies of each other, and which clips of each class are typical or odd. Writes a page, JSON
    and CSV. Networks that train on frames are too dear to train again: the recipe `auto` answers for them.

    Args:
        run: the folder of a finished training.
        data: its data, where they have been moved; by default those that the run remembers.
        out: folder for diagnosis.html, diagnosis.json and diagnosis.csv; by default beside the run.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.

    Raises:
        UsageError: it is no run, its data are other clips by now, or the folder holds something else.
        DatasetError: no clip can be used.
    """
    call = dict(locals())

    from marey.atomic import write_atomic
    from marey.commands.steps.diagnosis import read_again, thorough_findings
    from marey.commands.steps.held_out import load_own_data
    from marey.commands.steps.prepare import pick_device
    from marey.commands.steps.results import clip_image, versions
    from marey.data import is_features
    from marey.errors import UsageError
    from marey.models import load_model
    from marey.reports.diagnosis_page import write_diagnosis
    from marey.training.origin import command_line
    from marey.training.run_folder import claim_folder, read_origin, run_of

    written_as = command_line("diagnose", diagnose, call)
    folder = run_of(Path(run))
    model = load_model(run)
    if folder is None:
        raise UsageError(f"{run} is a model without its run: name the folder that `marey train` wrote")
    where, origin = pick_device(device), read_origin(folder)
    place = Path(out) if out is not None else folder.with_name(f"{folder.resolve().name}-diagnosis")
    claim_folder(place, marks=("diagnosis.csv",), what="a diagnosis")
    manifest, _ = load_own_data(
        folder,
        model,
        None if data is None else str(data),
        origin=origin,
        group_regex=None,
        exclude=None,
        reporter=reporter,
    )
    source = str(data) if data is not None else origin.data if origin is not None else ""
    given = is_features(source)
    read = read_again(
        model, folder, manifest, Path(source), given=given, device=where, engine=engine, reporter=reporter
    )
    findings = thorough_findings(read, manifest, given=given, device=where, reporter=reporter)
    place.mkdir(parents=True, exist_ok=True)
    write_atomic(place / "diagnosis.csv", findings.to_csv(), single_writer=True)
    write_atomic(place / "diagnosis.json", findings.to_json(), single_writer=True)
    page = write_diagnosis(
        findings,
        place,
        title=f"What would help {folder.resolve().name} most",
        image_of=None if given else clip_image,
        facts={"command": written_as, "data": manifest.source, "groups": manifest.grouping, **versions()},
    )
    return Diagnosis(findings, place, page)
