"""How well unknown actions are told from known ones, by models that are trained without them: minutes, from the cache.

    python benchmarks/unknown.py near DATA                  each class left out, each group held out
    python benchmarks/unknown.py far DATA OTHER [OTHER ...]  clips of other data sets, each group held out

`near` trains one model a class and a group, with C fixed (`training.C=0.0003`), so that it takes minutes; `far` reads
the models of a run, or trains them as `marey train DATA --folds group` does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from marey.commands import train
from marey.data import Clip, load_data, write_manifest
from marey.evaluation import auroc, false_positives, share_with_interval
from marey.prediction import Prediction, Predictor, find_clips
from marey.progress import SILENT


def near(data: str, regex: str | None) -> None:
    """Print the AUROC of each class that is left out, over all held-out groups."""
    manifest = load_data(data, group_regex=regex)
    areas = []
    for absent in manifest.labels:
        with tempfile.TemporaryDirectory() as work:
            kept = manifest.with_clips([clip for clip in manifest.clips if clip.label != absent])
            table, run = Path(work) / "kept.csv", Path(work) / "run"
            write_manifest(kept, table)
            train(table, out=run, folds="group", set=["training.C=0.0003"], reporter=SILENT)
            pairs = list(_held_out(run, manifest.clips))
        scores = np.array([found.unfamiliarity for _, found in pairs])
        unknown = np.array([clip.label == absent for clip, _ in pairs])
        areas.append(auroc(scores, unknown))
        rates = false_positives(scores, unknown), (scores[unknown] > 1).mean(), (scores[~unknown] > 1).mean()
        print(f"{absent}: AUROC {areas[-1]:.3f}, FPR at 95 % recall {rates[0]:.2f}, ", end="")
        print(f"called unknown {rates[1]:.2f}, known clips called unknown {rates[2]:.3f}", flush=True)
    print(f"mean AUROC {np.mean(areas):.3f}")


def far(data: str, regex: str | None, others: Sequence[str], run: str | None) -> None:
    """Print the AUROC of the clips of other data sets against those of held-out groups."""
    manifest = load_data(data, group_regex=regex)
    with tempfile.TemporaryDirectory() as work:
        place = Path(run or Path(work) / "run")
        if run is None:
            train(data, out=place, folds="group", group_regex=regex, reporter=SILENT)
        known = list(_held_out(place, manifest.clips))
        scores = np.array([found.unfamiliarity for _, found in known])
        share, ends = share_with_interval(scores > 1, [clip.group for clip, _ in known], seed=0)
        print(f"{Path(data).name}: {share:.3f} of {len(scores)} held-out clips called unknown, {ends}")
        for other in others:
            clips = find_clips([other])
            strange = np.array([found.unfamiliarity for model in _models(place) for found in _told(model, clips)])
            flags = np.arange(len(scores) + len(strange)) >= len(scores)
            area = auroc(np.concatenate([scores, strange]), flags)
            share = (strange > 1).mean()
            print(f"  against {Path(other).name}: AUROC {area:.3f}, called unknown {share:.3f}", flush=True)


def _models(run: Path) -> Iterator[Predictor]:
    for folder in sorted((run / "folds").glob("[0-9]*")):
        yield Predictor(folder / "model")


def _held_out(run: Path, clips: Sequence[Clip]) -> Iterator[tuple[Clip, Prediction]]:
    """Yield each clip with the prediction of the model that has seen no clip of its group."""
    for model in _models(run):
        seen = set(model.model.config.made_with["groups"])
        mine = [clip for clip in clips if clip.group not in seen]
        yield from zip(mine, _told(model, mine), strict=True)


def _told(model: Predictor, clips: Sequence[Clip]) -> list[Prediction]:
    return [found for found in model.predict(list(clips)) if found.unfamiliarity is not None]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["near", "far"])
    parser.add_argument("data")
    parser.add_argument("others", nargs="*")
    parser.add_argument("--group-regex")
    parser.add_argument("--run", help="of DATA, with a fold a group")
    given = parser.parse_args()
    if given.what == "near":
        near(given.data, given.group_regex)
    else:
        far(given.data, given.group_regex, given.others, given.run)
