"""The commands of marey, one typed function each: the same in Python and on the command line."""

from __future__ import annotations

from marey.commands import data, exchange
from marey.commands.compare import compare
from marey.commands.demo import demo
from marey.commands.doctor import doctor
from marey.commands.evaluate import evaluate
from marey.commands.extract import extract
from marey.commands.models import list_models
from marey.commands.predict import predict
from marey.commands.quantise import quantise
from marey.commands.train import train
from marey.commands.tune import tune
from marey.progress import Reporter, Stage

__all__ = [
    "Reporter",
    "Stage",
    "compare",
    "data",
    "demo",
    "doctor",
    "evaluate",
    "exchange",
    "extract",
    "list_models",
    "predict",
    "quantise",
    "train",
    "tune",
]
