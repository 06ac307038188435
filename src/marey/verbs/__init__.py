"""What marey does, a function a verb: the same in Python and on the command line."""

from __future__ import annotations

from marey.verbs import data
from marey.verbs.demo import demo
from marey.verbs.doctor import doctor
from marey.verbs.evaluate import evaluate
from marey.verbs.extract import extract
from marey.verbs.models import list_models
from marey.verbs.predict import predict
from marey.verbs.reporter import Reporter, Stage
from marey.verbs.train import train

__all__ = ["Reporter", "Stage", "data", "demo", "doctor", "evaluate", "extract", "list_models", "predict", "train"]
