from __future__ import annotations

from pydantic import BaseModel

from marey.data import Leak, Segment
from marey.evaluation import PlayedVideo, UntrimmedEvaluation


class Settings(BaseModel):
    smooth: float = 0.5


GOOD = PlayedVideo("a.mp4", 4.0, (Segment(0, 2, "run"),), "p1", (Segment(0, 2, "run", 0.9),))
LOST = PlayedVideo("b.mp4", 2.0, (Segment(0, 2, "run"),), "p2", reason="empty", detail="no bytes")


def test_a_video_that_cannot_be_used_is_scored_as_one_without_segments() -> None:
    evaluation = UntrimmedEvaluation((GOOD, LOST), Settings(), (), "all videos", "c0ffee", 0, notes=("a note",))
    assert (evaluation.scores.segments, evaluation.scores.found) == (2, 1)
    assert evaluation.failed == (LOST,)
    assert evaluation.scores.videos["b.mp4"].frame_accuracy == 0.0
    assert LOST.as_dict()["reason"] == "empty"
    assert "reason" not in GOOD.as_dict()
    values = evaluation.as_dict()
    assert (values["failed_reasons"], values["segmentation"]) == ({"empty": 1}, {"smooth": 0.5})
    assert values["notes"] == ["a note"]


def test_the_text_of_an_untrimmed_evaluation_is_short_and_counts_leaks_and_notes() -> None:
    leak = Leak("content", "a" * 32, ("training",), ("a.mp4",))
    evaluation = UntrimmedEvaluation((GOOD, LOST), Settings(), (leak,), "all videos", "c0ffee", 0)
    assert repr(evaluation) == ("UntrimmedEvaluation(protocol='all videos', videos=2, failed=1, leaks=1, notes=0)")
    assert evaluation.leak is not None
    assert repr(evaluation.scores).startswith("SegmentScores(frame_accuracy=")
