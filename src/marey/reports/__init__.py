"""What people look at: the report of an evaluation, its plots and tables, and clips on one plate."""

from __future__ import annotations

from marey.reports.chronophotograph import chronophotograph, contact_sheet
from marey.reports.comparison import SURE, Cost, Entry, TrainingTime, answer_of, comparison_table, write_comparison
from marey.reports.page import Plate, write_report
from marey.reports.plots import History, plot_confusion, plot_curves, plot_per_class, plot_reliability
from marey.reports.sentences import answer
from marey.reports.style import save_png
from marey.reports.table import metrics_table
from marey.reports.tuning import plot_history, plot_importances, write_tuning

__all__ = [
    "SURE",
    "Cost",
    "Entry",
    "History",
    "Plate",
    "TrainingTime",
    "answer",
    "answer_of",
    "chronophotograph",
    "comparison_table",
    "contact_sheet",
    "metrics_table",
    "plot_confusion",
    "plot_curves",
    "plot_history",
    "plot_importances",
    "plot_per_class",
    "plot_reliability",
    "save_png",
    "write_comparison",
    "write_report",
    "write_tuning",
]
