"""How well `marey find` finds clips of the query's class: precision at k, on UT-Interaction.

Each clip is the query once; clips of its own sequence do not count. All clips are compared whole. It is run by name:
`python benchmarks/bench.py --only find`. Features are taken from the cache where they are.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from marey.data import load_data
from marey.encoders import Contract, load_encoder
from marey.models import HeadSpec, new_classifier
from marey.prediction import Search, SummaryDescriber
from marey.training import load_recipe, recipe_names
from measure import Line, Setting

RECIPES: Final = ("chronophotograph", "default-0.1")
_WHOLE: Final = 60.0  # s: the window, longer than any clip
_KS: Final = (1, 5, 9)


def measure(setting: Setting) -> list[Line]:
    """Search for each clip among all others, by the features of recipes that nothing was trained for."""
    lines: list[Line] = []
    for recipe in RECIPES:
        if recipe in recipe_names():
            lines += _measure(setting, recipe)
        else:
            setting.left_out[f"find, {recipe}"] = "there is no recipe of that name"
    return lines


def _measure(setting: Setting, name: str) -> list[Line]:
    clips = load_data(setting.data).clips
    of_path = {clip.path: clip for clip in clips}
    recipe = load_recipe(name)
    encoder = load_encoder(recipe.encoder, frames=recipe.sampling.count)
    contract = Contract.from_recipe(recipe, encoder, multi_view=False)
    ranked: list[list[bool]] = []
    shares: list[float] = []
    for query in clips:
        classifier = new_classifier(contract, HeadSpec(name="pyramid", options={}), 2)
        search = Search(encoder, contract, SummaryDescriber(classifier, trained=False), window=_WHOLE)
        views = search.read_query(query)
        hits = search.find(lambda by, views=views: by.describe(views), list(of_path), without=query)  # type: ignore[misc]
        others = [of_path[hit.path] for hit in hits if of_path[hit.path].group != query.group]
        ranked.append([clip.label == query.label for clip in others])
        shares.append(float(np.mean(ranked[-1])))
    return [
        Line(
            f"find, {name}: precision at {k}",
            (float(np.mean([row[:k] for row in ranked])),),
            "",
            note=f"mean over {len(clips)} queries; {np.mean(shares):.3f} for a random order",
        )
        for k in _KS
    ]
