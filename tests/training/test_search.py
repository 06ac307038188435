from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marey.encoders import family_of
from marey.errors import RecipeError
from marey.models import Classifier, head_options
from marey.training import Recipe, load_recipe, recipe_names
from marey.training.recipe import Domain
from marey.training.search import applicable, changed, grid_of, is_whole


def searching(space: str, *changes: str) -> Recipe:
    return load_recipe("default-0.1", changes=[*changes, f"search={space}"])


@pytest.mark.parametrize("name", recipe_names())
def test_what_a_recipe_searches_can_be_written_down_and_read_again(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    (tmp_path / "again.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(tmp_path / "again.yaml") == recipe


def test_every_recipe_says_what_to_search_but_those_whose_training_takes_hours() -> None:
    fine_tuned = {"finetune", "mvit-v2-s", "r2plus1d-18", "s3d", "swin3d-t"}
    untrained = {"clip-zeroshot", "siglip2-zeroshot", "xclip-zeroshot"}
    without = {name for name in recipe_names() if not load_recipe(name).search}
    assert without == fine_tuned | untrained


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_s_own_values_are_among_those_that_it_searches(name: str) -> None:
    recipe = load_recipe(name)
    assert applicable(recipe) == recipe.search
    for key, domain in recipe.search.items():
        assert _holds(domain, _at(recipe, key)), f"{key}: {_at(recipe, key)}"


@pytest.mark.parametrize("name", recipe_names())
def test_all_that_a_recipe_searches_gives_recipes_whose_heads_can_be_built(name: str) -> None:
    recipe, chance = load_recipe(name), np.random.default_rng(0)
    points = {
        key: grid_of(domain, whole=domain.choices is None and is_whole(recipe, key))
        for key, domain in recipe.search.items()
    }
    shape = (4, 3, 64, 64) if family_of(recipe.encoder).gives == "frames" else (12,)
    for _ in range(12 if recipe.search else 0):
        drawn = {key: values[chance.integers(len(values))] for key, values in points.items()}
        tried = Recipe.model_validate(changed(recipe.model_dump(mode="json"), drawn))
        assert all(_at(tried, key) == value for key, value in drawn.items())
        with torch.device("meta"):
            Classifier(tried.head, dict.fromkeys(tried.streams, shape), 6)


def _at(recipe: Recipe, key: str) -> Any:
    """The value of a key; of an option that a recipe leaves out, what the head takes by itself."""
    here: Any = recipe.model_dump()
    here["head"]["options"] = {**head_options(recipe.head.name), **here["head"]["options"]}
    for part in key.split("."):
        here = here[part]
    return here


def _holds(domain: Domain, value: Any) -> bool:
    if domain.choices is not None:
        return value in domain.choices
    low, high = domain.span
    steps = (value - low) / domain.step if domain.step is not None else 0.0
    return bool(low <= value <= high and abs(steps - round(steps)) < 1e-9)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ("{training.learning_rat: {low: 1, high: 2}}", "no key is called 'training.learning_rat'; did you mean 'learn"),
        ("{trainin.epochs: {low: 1, high: 2}}", "no key is called 'trainin.epochs'; did you mean 'training'?"),
        ("{training.epochs: {lo: 1, high: 2}}", "no key is called 'search.training.epochs.lo'; did you mean 'low'"),
        ("{training.mixup.more: {low: 0, high: 1}}", "what stands before its last dot is a value"),
        ("{training: {choices: [1, 2]}}", "'training' has keys of its own; name one of them: epochs, "),
        ("{training.learning_rate: {low: -1, high: 2}}", "'training.learning_rate': Input should be greater than 0"),
        ("{training.schedule: {choices: [cosine, linear]}}", "'cosine' or 'plateau' (it is 'linear')"),
        ("{head.options.part: {low: 1, high: 3}}", "no key is called 'head.options.part'; did you mean 'parts'?"),
        ("{head.options.parts: {low: 0, high: 3}}", "parts of the head 'pyramid' has to be a whole number"),
        ("{head.options.dropout: {low: 0, high: 3}}", "dropout of the head 'pyramid' has to be a number from 0 to 1"),
        ("{head.name: {choices: [mean, lstn]}}", "no head is called 'lstn'; did you mean 'lstm'"),
        ("{test: {low: 0.1, high: 0.2}}", "'test' cannot be searched: the test part is set aside before"),
        ("{testing.clips: {low: 1, high: 3}}", "'testing.clips' cannot be searched: it changes what is tested"),
        ("{seed: {low: 0, high: 9}}", "'seed' cannot be searched: a seed that is chosen by its score is luck"),
        ("{training.inner_folds: {low: 1, high: 5}}", "'training.inner_folds' cannot be searched"),
        ("{training.epochs: {low: 9, high: 2}}", "low (9) has to be less than high (2)"),
        ("{training.weight_decay: {low: 0, high: 2, log: true}}", "low (0) has to be greater than 0 where log is true"),
        ("{training.epochs: {low: 1, high: 9, step: 10}}", "the step (10) is larger than the range"),
        ("{training.epochs: {low: 1, high: 9, step: 2, log: true}}", "a step and log: true exclude each other"),
        ("{training.epochs: {low: 1}}", "give low and high"),
        ("{training.epochs: {low: 1, high: 3, choices: [1, 2]}}", "give choices, or low and high, and not both"),
        ("{training.epochs: 3}", "'search.training.epochs': Input should be a valid dictionary"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_reason(space: str, sentence: str) -> None:
    with pytest.raises(RecipeError) as error:
        searching(space)
    assert sentence in str(error.value)


def test_another_head_leaves_a_recipe_in_one_piece_and_its_options_out_of_the_search() -> None:
    recipe = load_recipe("default-0.1", changes=["head.name=gru", "head.options={}"])
    assert "head.options.parts" not in applicable(recipe)
    assert "head.options.dropout" in applicable(recipe)
    assert "head.options.parts" in applicable(load_recipe("default-0.1"))


def test_numbers_are_whole_where_the_key_is_and_not_where_the_ends_are() -> None:
    recipe = searching(
        "{training.epochs: {low: 1, high: 9}, training.mixup: {low: 0, high: 1}, head.options.parts: {low: 1, high: 4},"
        " head.options.dropout: {low: 0, high: 1}, streams.difference.span: {low: 1, high: 2}}"
    )
    whole = {key for key in recipe.search if is_whole(recipe, key)}
    assert whole == {"training.epochs", "head.options.parts"}


def test_a_grid_takes_all_choices_all_steps_or_both_ends_and_the_middle() -> None:
    search = searching(
        "{training.epochs: {low: 1, high: 8, step: 3}, training.mixup: {low: 0, high: 1},"
        " training.learning_rate: {low: 1e-4, high: 1e-2, log: true}, encoder.grid: {choices: [[3, 2], null]},"
        " head.options.dropout: {low: 0.0, high: 0.6, step: 0.2}, training.batch_size: {low: 4, high: 7}}"
    ).search
    assert grid_of(search["training.epochs"], whole=True) == (1, 4, 7)
    assert grid_of(search["training.mixup"], whole=False) == (0.0, 0.5, 1.0)
    assert grid_of(search["training.learning_rate"], whole=False) == pytest.approx((1e-4, 1e-3, 1e-2))
    assert grid_of(search["encoder.grid"], whole=False) == ("[3, 2]", None)
    assert grid_of(search["head.options.dropout"], whole=False) == (0.0, 0.2, 0.4, 0.6)
    assert grid_of(search["training.batch_size"], whole=True) == (4, 6, 7)


def test_a_recipe_with_other_values_keeps_all_the_rest() -> None:
    recipe = load_recipe("default-0.1")
    values = recipe.model_dump(mode="json")
    other = Recipe.model_validate(changed(values, {"training.epochs": 7, "encoder.grid": (1, 1)}))
    assert (other.training.epochs, other.encoder.grid) == (7, (1, 1))
    assert changed(other.model_dump(mode="json"), {"training.epochs": 60, "encoder.grid": (3, 2)}) == values
    assert recipe.training.epochs == 60


def test_options_that_the_head_of_a_trial_does_not_have_are_left_out() -> None:
    values = load_recipe("default-0.1").model_dump(mode="json")
    other = Recipe.model_validate(changed(values, {"head.name": "gru", "head.options.dropout": 0.2}))
    assert (other.head.name, other.head.options) == ("gru", {"dropout": 0.2})
