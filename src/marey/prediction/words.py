"""Labels and queries in words: predictions and searches without training, by a network with a text tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from marey.encoders import Contract, Features, TextImageEncoder, WordEmbeddings
from marey.errors import UsageError, VideoError
from marey.models import (
    ActionModel,
    Classifier,
    HeadSpec,
    ModelConfig,
    ZeroShotHead,
    full_mask,
    new_classifier,
    stack_clips,
)
from marey.prediction.clip_prediction import Prediction
from marey.prediction.pipeline import Unknown
from marey.prediction.predictor import Predictor
from marey.prediction.promises import Promises

_FEWEST: Final = 8  # windows below which their median says nothing


class WordPredictor(Predictor):
    """A network with a text tower, ready to name clips by labels that are given in words.

    The confidence is a softmax over the labels, of the cosines as the network's training scaled them: one of the labels
    is taken to be right. SigLIP was trained with a sigmoid a label, which `Prediction.matches` has: there all of them
    may be wrong.

    Args:
        encoder: the network.
        contract: how clips are read.
        head: its options have the prompts.
        labels: two or more.

    Raises:
        UsageError: labels that are empty, fewer than two, or named twice.
        WeightsError: there is no tokenizer beside the weights.
    """

    def __init__(self, encoder: TextImageEncoder, contract: Contract, head: HeadSpec, labels: Sequence[str]) -> None:
        labels = tuple(check_labels(labels))
        self._words, classifier = word_classifier(encoder, contract, head, labels)
        config = ModelConfig(contract=contract, head=head, labels=labels)
        super().__init__(ActionModel(config, classifier), encoder=encoder)

    def _label(
        self,
        name: str,
        views: list[Features] | VideoError,
        *,
        threshold: float,
        unknown: Unknown,
        promises: Promises,
        draw: str,
    ) -> Prediction:
        """Return the prediction of a clip, with `matches` where the network was trained to give them."""
        prediction = super()._label(name, views, threshold=threshold, unknown=unknown, promises=promises, draw=draw)
        if isinstance(views, VideoError) or not self._words.independent:
            return prediction
        shares = head_logits(self.model.classifier, views).sigmoid().mean(0)
        by_label = dict(zip(self.labels, shares.tolist(), strict=True))
        return replace(prediction, matches=tuple(by_label[label] for label in prediction.labels))


class WordDescriber:
    """The cosine of windows with words: a search whose query is the number 1.

    Args:
        classifier: of `word_classifier`, for one label.

    Attributes:
        floor: the median cosine of the windows that are searched: of such networks all cosines are alike, and only what
            is above the usual says something.
    """

    fits = True

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.floor = 0.0

    def fit(self, clips: Sequence[Features]) -> None:
        """Find the floor, if there are enough windows."""
        if len(clips) >= _FEWEST:
            self.floor = float(self.describe(clips).median())

    def describe(self, clips: Sequence[Features]) -> Tensor:
        """Return the cosine of clips, stream name to (T, D), with the words, averaged over the streams: (N, 1)."""
        (head, *_) = self._classifier.heads
        assert isinstance(head, ZeroShotHead)  # noqa: S101 - ModuleList has lost the type
        return (head_logits(self._classifier, clips) - head.bias) / head.scale


def check_labels(labels: Sequence[str]) -> list[str]:
    """Return labels without the blanks around them.

    Raises:
        UsageError: labels that are empty, fewer than two, or named twice.
    """
    plain = [" ".join(label.split()) for label in labels]
    given = ", ".join(repr(label) for label in labels)
    if not plain:
        raise UsageError('no labels are given: name two or more, as in "wave, clap, jump"')
    if "" in plain:
        raise UsageError(f"one of the labels {given} is empty: leave it out")
    if len(plain) == 1:
        raise UsageError(f"{given} is the only label, and every clip would get it: name two or more")
    twice = next((label for label in plain if [each.lower() for each in plain].count(label.lower()) > 1), None)
    if twice is not None:
        raise UsageError(f"the label '{twice}' is named twice: leave one out")
    return plain


def word_classifier(
    encoder: TextImageEncoder, contract: Contract, head: HeadSpec, labels: Sequence[str], *, plain: bool = False
) -> tuple[WordEmbeddings, Classifier]:
    """Return the embeddings of labels, and the classifier that compares clips with them.

    Args:
        encoder: a network with a text tower.
        contract: how clips are read.
        head: a zero-shot one; its options have the prompts.
        labels: of any number.
        plain: take the labels as they are, as whole sentences.
    """
    classifier = new_classifier(contract, head, len(labels)).eval()
    heads = [each for each in classifier.heads if isinstance(each, ZeroShotHead)]
    words = encoder.embed_words([[label] if plain else heads[0].sentences(label) for label in labels])
    for each in heads:
        each.set_words(words.vectors, scale=words.scale, bias=words.bias, prompts=words.prompts)
    return words, classifier


@torch.inference_mode()
def head_logits(classifier: Classifier, clips: Sequence[Features]) -> Tensor:
    """Return the logits of clips, stream name to (T, D), averaged over the streams: (N, classes)."""
    batch = stack_clips(clips)
    mask = full_mask(batch)
    return classifier.head_logits(classifier.forward_features(batch, mask), mask).mean(0)
