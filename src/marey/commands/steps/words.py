"""Recipes whose encoder has a text tower, opened for labels and queries in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from marey.errors import UsageError

if TYPE_CHECKING:
    from marey.encoders import Contract, TextImageEncoder
    from marey.prediction import WordDescriber, WordPredictor
    from marey.training import Recipe

WORDS_RECIPE: Final = "siglip2-zeroshot"
"""Name of the recipe that labels in words are compared by where none is named."""


def open_labels(
    labels: str | Sequence[str], recipe: str | Path | None, *, changes: Sequence[str], device: str, engine: str | None
) -> WordPredictor:
    """Return what names clips by labels in words.

    Args:
        labels: separated by commas, or a sequence.
        recipe: its name or file; None for `WORDS_RECIPE`.
        changes: of keys of the recipe.
        device: where the encoder runs.
        engine: what runs it.

    Raises:
        UsageError: labels that cannot be told apart, a recipe without a text tower, or a missing extra.
        WeightsError: the weights or the tokenizer are missing.
    """
    from marey.prediction import WordPredictor
    from marey.prediction.words import check_labels
    from marey.training import load_recipe

    named = check_labels(split_labels(labels))
    chosen = load_recipe(recipe or WORDS_RECIPE, changes=changes)
    encoder, contract = _open(chosen, device, engine)
    return WordPredictor(encoder, contract, chosen.head, named)


def open_query(
    words: str, recipe: Recipe, *, device: str, engine: str | None
) -> tuple[TextImageEncoder, Contract, WordDescriber]:
    """Return what compares the windows of videos with a sentence.

    Raises:
        UsageError: a recipe without a text tower, or a missing extra.
        WeightsError: the weights or the tokenizer are missing.
    """
    from marey.prediction import WordDescriber
    from marey.prediction.words import word_classifier

    encoder, contract = _open(recipe, device, engine)
    _, classifier = word_classifier(encoder, contract, recipe.head, [words], plain=True)
    return encoder, contract, WordDescriber(classifier)


def split_labels(labels: str | Sequence[str]) -> list[str]:
    """Return labels that are separated by commas, or a sequence as it is."""
    if not isinstance(labels, str):
        return [str(label) for label in labels]
    return [part.strip() for part in labels.split(",")] if labels.strip() else []


def _open(recipe: Recipe, device: str, engine: str | None) -> tuple[TextImageEncoder, Contract]:
    from marey.encoders import Contract, TextImageEncoder, load_encoder
    from marey.models import ZERO_SHOT

    if recipe.head.name != ZERO_SHOT:
        raise UsageError(
            f"the recipe '{recipe.name}' knows no words ({recipe.encoder.name} has no text tower, or its head is "
            "trained): choose siglip2-zeroshot, clip-zeroshot or xclip-zeroshot"
        )
    encoder = load_encoder(recipe.encoder, frames=recipe.sampling.count, device=device, engine=engine)
    assert isinstance(encoder, TextImageEncoder)  # noqa: S101 - the recipe is checked
    return encoder, Contract.from_recipe(recipe, encoder)
