"""What marey does, a function a verb: the same in Python and on the command line."""

from __future__ import annotations

from marey.verbs import data, exchange
from marey.verbs.compare import compare
from marey.verbs.demo import demo
from marey.verbs.doctor import doctor
from marey.verbs.evaluate import evaluate
from marey.verbs.extract import extract
from marey.verbs.models import list_models
from marey.verbs.predict import predict
from marey.verbs.quantise import quantise
from marey.verbs.reporter import Reporter, Stage
from marey.verbs.serve import serve
from marey.verbs.train import train
from marey.verbs.tune import tune

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
    "serve",
    "train",
    "tune",
]
