"""Findings of a training about its data: labels, near-duplicates, typical and odd clips, and the use of more groups."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marey.data import Clip
from marey.evaluation.label_errors import SuspectLabel
from marey.evaluation.learning_curve import LearningCurve
from marey.evaluation.near_duplicates import NearDuplicate
from marey.evaluation.typicality import ClassClips


@dataclass(frozen=True)
class DataFindings:
    """Answers about the clips of a training.

    Attributes:
        clips: all clips; numbers of clips below are places in it.
        labels: the classes.
        suspects: clips whose labels look wrong, the most suspect first.
        checked: number of clips with predictions of models that were not trained on them.
        duplicates: near-duplicates across a split, or between groups.
        typical: typical and odd clips of each class.
        curve: accuracy against the number of groups; None where it was not asked for, or cannot be had.
        notes: what was not done, and why, a sentence each.
    """

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    suspects: tuple[SuspectLabel, ...]
    checked: int
    duplicates: tuple[NearDuplicate, ...]
    typical: tuple[ClassClips, ...]
    curve: LearningCurve | None = None
    notes: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each clip that something was found of: question, clip, label, finding, score."""
        found = [
            self._row("label", one.clip, f"looks like {self.labels[one.suggested]}", one.confidence - one.own)
            for one in self.suspects
        ]
        for pair in self.duplicates:
            found.append(
                self._row("near-duplicate", pair.first, f"copy of {self.clips[pair.second].id}", pair.likeness)
            )
        for each in self.typical:
            found += [self._row("typical", clip, "typical of its class", None) for clip in each.typical]
            found += [
                self._row("odd", clip, "unlike its class", oddness)
                for clip, oddness in zip(each.odd, each.oddness, strict=True)
            ]
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return {
            "clips": len(self.clips),
            "labels": {
                "checked": self.checked,
                "suspects": [
                    {
                        "clip": self.clips[one.clip].id,
                        "label": self.labels[one.label],
                        "suggested": self.labels[one.suggested],
                        "confidence": one.confidence,
                        "probability_of_label": one.own,
                    }
                    for one in self.suspects
                ],
            },
            "near_duplicates": [
                {
                    "first": self.clips[pair.first].id,
                    "second": self.clips[pair.second].id,
                    "likeness": pair.likeness,
                    "by": pair.by,
                }
                for pair in self.duplicates
            ],
            "classes": [
                {
                    "label": self.labels[each.label],
                    "typical": self._ids(each.typical),
                    "odd": self._ids(each.odd),
                    "oddness": list(each.oddness),
                }
                for each in self.typical
            ],
            "learning_curve": None if self.curve is None else self.curve.as_dict(),
            "notes": list(self.notes),
        }

    def to_json(self) -> bytes:
        """Return it as JSON, encoded."""
        return json.dumps(self.as_dict(), indent=1, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"

    def to_csv(self) -> bytes:
        """Return the rows as CSV, encoded."""
        text = io.StringIO()
        writer = csv.DictWriter(text, ("question", "clip", "label", "group", "finding", "score"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        return text.getvalue().encode("utf-8", "backslashreplace")

    def _row(self, question: str, clip: int, finding: str, score: float | None) -> dict[str, Any]:
        shown = self.clips[clip]
        return {
            "question": question,
            "clip": shown.id,
            "label": shown.label,
            "group": shown.group,
            "finding": finding,
            "score": score,
        }

    def _ids(self, clips: Sequence[int]) -> list[str]:
        return [self.clips[clip].id for clip in clips]
