"""Search: windows that are shared between pieces, and the hits among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import MakeVideo
from marey.data import Clip
from marey.encoders import Contract, FeatureCache, load_encoder
from marey.errors import UsageError
from marey.models import HeadSpec, new_classifier
from marey.prediction import Search, SummaryDescriber, window_of
from marey.prediction.search import Window, merge
from marey.training import load_recipe


def test_a_hit_takes_in_overlapping_neighbours_that_are_nearly_as_similar() -> None:
    rows = [(0, 0.1), (1, 0.95), (2, 1.0), (3, 0.91), (4, 0.2), (5, 0.1), (6, 0.15), (9, 0.7)]
    hits = merge([Window(start, start + 2.0, similarity) for start, similarity in rows])
    assert hits == [(1, 5.0, 1.0), (9, 11.0, 0.7), (6, 8.0, 0.15)]


def test_windows_that_are_dissimilar_are_not_merged() -> None:
    assert merge([Window(0, 2, -0.5), Window(1, 3, -0.4), Window(2, 4, -0.5)]) == [(1, 3, -0.4)]


def test_where_all_windows_are_similar_a_hit_is_what_lies_above_the_floor() -> None:
    rows = [
        Window(start, start + 2.0, similarity) for start, similarity in ((0, 0.20), (1, 0.298), (2, 0.3), (3, 0.21))
    ]
    assert merge(rows)[0] == (1, 4.0, 0.3)
    assert merge(rows, floor=0.2)[0] == (1, 4.0, 0.3)
    almost = [Window(start, start + 2.0, 0.29 + 0.01 * (start == 2)) for start in range(4)]
    assert merge(almost)[0] == (0, 5.0, 0.3)
    assert merge(almost, floor=0.29)[0] == (2, 4.0, 0.3)


def test_a_window_across_two_pieces_is_described_as_the_same_span_read_as_a_clip(
    make_video: MakeVideo, tmp_path: Path, small_changes: list[str]
) -> None:
    path = make_video(tmp_path / "video.mp4", seconds=4.0)
    recipe = load_recipe("frame-average", changes=[*small_changes, "encoder.grid=[2, 2]"])
    encoder = load_encoder(recipe.encoder, frames=4)
    contract = Contract.from_recipe(recipe, encoder)
    describer = SummaryDescriber(new_classifier(contract, HeadSpec(name="pyramid", options={}), 2), trained=True)
    cache = FeatureCache(tmp_path / "cache")
    search = Search(encoder, contract, describer, window=1.0, cache=cache)
    for start in (0.0, 0.25, 1.5, 2.75, 3.0):
        views = search.read_query(Clip(path, start=start, end=start + 1.0))
        hits = search.find(lambda by, views=views: by.describe(views), [path])  # type: ignore[misc]
        assert hits[0].similarity == pytest.approx(1.0, abs=1e-5)
        assert hits[0].start <= start <= hits[0].end - 1.0 + 1e-6


def test_the_window_is_the_querys_length_rounded_so_that_searches_share_features(small_changes: list[str]) -> None:
    recipe = load_recipe("default-0.1", changes=small_changes)
    encoder = load_encoder(recipe.encoder, frames=4)
    contract = Contract.from_recipe(recipe, encoder)
    assert [window_of(contract, seconds, None) for seconds in (0.1, 0.9, 2.2, 3.3, 1000.0)] == [
        0.5,
        1.0,
        2.0,
        3.0,
        64.0,
    ]
    assert window_of(contract, 3.3, 1.25) == 1.25
    dense = contract.model_copy(
        update={"sampling": contract.sampling.model_copy(update={"kind": "dense", "rate": 8.0})}
    )
    assert window_of(dense, 3.3, None) == 0.5
    with pytest.raises(UsageError, match=r"samples 0\.5 s of a clip"):
        window_of(dense, 3.3, 2.0)
