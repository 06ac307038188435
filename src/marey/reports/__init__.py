"""Reports with plots, annotated video, timelines, and chronophotographs."""

from __future__ import annotations

from marey.evaluation import Cost, PlayedVideo, UntrimmedEvaluation
from marey.reports.annotation import (
    CaptionAt,
    annotate_video,
    caption_of_clip,
    caption_of_timeline,
    chronophotograph_of,
    write_annotated_frames,
)
from marey.reports.caption import NONE, Caption, draw_caption
from marey.reports.chronophotograph import chronophotograph
from marey.reports.comparison import SIGNIFICANCE, Entry, TrainingTime, comparison_summary, write_comparison
from marey.reports.explanation_figure import plot_explanation, write_explanation_video
from marey.reports.heat_map import draw_heat
from marey.reports.image_io import save_image
from marey.reports.layer_plot import plot_layers
from marey.reports.page import ImageOf, write_report
from marey.reports.phrases import answer, confidence_text, confidence_texts, frame_order, percent_text, signed
from marey.reports.plots import History, plot_confusion, plot_curves, plot_per_class, plot_reliability
from marey.reports.prediction_tables import write_frame_table, write_label_table
from marey.reports.segment_files import SEGMENT_SUFFIXES, check_table_path, write_segments, write_thumbnails
from marey.reports.style import save_png
from marey.reports.timeline_plot import plot_timeline
from marey.reports.tuning import plot_history, plot_importances, write_tuning
from marey.reports.untrimmed_page import (
    untrimmed_summary,
    write_untrimmed,
)

__all__ = [
    "NONE",
    "SEGMENT_SUFFIXES",
    "SIGNIFICANCE",
    "Caption",
    "CaptionAt",
    "Cost",
    "Entry",
    "History",
    "ImageOf",
    "PlayedVideo",
    "TrainingTime",
    "UntrimmedEvaluation",
    "annotate_video",
    "answer",
    "caption_of_clip",
    "caption_of_timeline",
    "check_table_path",
    "chronophotograph",
    "chronophotograph_of",
    "comparison_summary",
    "confidence_text",
    "confidence_texts",
    "draw_caption",
    "draw_heat",
    "frame_order",
    "percent_text",
    "plot_confusion",
    "plot_curves",
    "plot_explanation",
    "plot_history",
    "plot_importances",
    "plot_layers",
    "plot_per_class",
    "plot_reliability",
    "plot_timeline",
    "save_image",
    "save_png",
    "signed",
    "untrimmed_summary",
    "write_annotated_frames",
    "write_comparison",
    "write_explanation_video",
    "write_frame_table",
    "write_label_table",
    "write_report",
    "write_segments",
    "write_thumbnails",
    "write_tuning",
    "write_untrimmed",
]
