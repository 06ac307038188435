"""What people look at: the report of an evaluation, its plots and tables, and clips on one plate."""

from __future__ import annotations

from marey.reports.chronophotograph import chronophotograph, contact_sheet
from marey.reports.page import Plate, write_report
from marey.reports.plots import History, plot_confusion, plot_curves, plot_per_class, plot_reliability
from marey.reports.sentences import answer
from marey.reports.style import save_png
from marey.reports.table import metrics_table

__all__ = [
    "History",
    "Plate",
    "answer",
    "chronophotograph",
    "contact_sheet",
    "metrics_table",
    "plot_confusion",
    "plot_curves",
    "plot_per_class",
    "plot_reliability",
    "save_png",
    "write_report",
]
