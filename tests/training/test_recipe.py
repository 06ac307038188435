from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from marey.encoders import EncoderSpec, Stream
from marey.errors import RecipeError, UnknownNameError, UsageError
from marey.models import HeadSpec
from marey.training import DEFAULT_RECIPE, Recipe, Training, Views, load_recipe, recipe_names
from marey.video import Sampling


def text_of(name: str) -> str:
    return resources.files("marey").joinpath("recipes", f"{name}.yaml").read_text(encoding="utf-8")


def test_the_default_recipe_is_among_those_that_come_with_marey() -> None:
    assert DEFAULT_RECIPE in recipe_names()
    assert list(recipe_names()) == sorted(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_under_its_own_name_and_says_what_it_is_for(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert len(recipe.description.split()) >= 5
    assert recipe.description.endswith(".")


@pytest.mark.parametrize("model", [Recipe, Training, Views, EncoderSpec, Sampling, Stream, HeadSpec])
def test_every_key_that_a_recipe_may_have_stands_in_the_default_one(model: type[BaseModel]) -> None:
    written = set(re.findall(r"^[ #]*(\w+):", text_of(DEFAULT_RECIPE), flags=re.MULTILINE))
    assert set(model.model_fields) <= written


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_commented(name: str) -> None:
    assert "#" in text_of(name)


def test_a_recipe_written_out_reads_back_the_same(tmp_path: Path) -> None:
    recipe = load_recipe("default-0.1", changes=["training.epochs=7", "encoder.precision=bfloat16"])
    path = tmp_path / "größer recipe.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(path) == recipe


def test_a_recipe_of_ones_own_names_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    values = {
        "name": "own",
        "description": "mine",
        "sampling": {"count": 3},
        "streams": {"plain": {"kind": "appearance"}},
        "head": {"name": "gru"},
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    recipe = load_recipe(path)
    assert (recipe.sampling.count, recipe.head.name) == (3, "gru")
    assert recipe.training == Training()


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("training.learning_rate=1e-3", "training.learning_rate", 0.001),
        ("training.learning_rate=5E-4", "training.learning_rate", 0.0005),
        ("training.epochs=100", "training.epochs", 100),
        (" training.epochs = 9", "training.epochs", 9),
        ("head.options.dropout=.25", "head.options.dropout", 0.25),
        ("head.name=gru", "head.name", "gru"),
        ("encoder.grid=null", "encoder.grid", None),
        ("encoder.grid=[1, 2]", "encoder.grid", (1, 2)),
        ("seed=3", "seed", 3),
        ("streams.plain={kind: appearance}", "streams.plain.kind", "appearance"),
        ("streams.triplet.span=0.5", "streams.triplet.span", 0.5),
        ("encoder.weights=some/file=1.pt", "encoder.weights", "some/file=1.pt"),
    ],
)
def test_a_change_sets_a_key_as_yaml_writes_its_value(change: str, key: str, value: object) -> None:
    here: Any = load_recipe("default-0.1", changes=[change])
    for part in key.split("."):
        here = here[part] if isinstance(here, dict) else getattr(here, part)
    assert here == value
    assert type(here) is type(value)


def test_the_last_of_two_changes_of_a_key_holds() -> None:
    assert load_recipe("default-0.1", changes=["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("trainning.epochs=3", r"no key is called 'trainning'; did you mean 'training' or 'testing'\?"),
        ("training.epoch=3", r"no key is called 'training\.epoch'; did you mean 'epochs'\?"),
        ("encoder.presision=x", r"no key is called 'encoder\.presision'; did you mean 'precision'\?"),
        ("streams.triplet.spam=1", r"no key is called 'streams\.triplet\.spam'; did you mean 'span'\?"),
        ("sampling.cuont=1", r"no key is called 'sampling\.cuont'; did you mean 'count'\?"),
        ("training.epochs=0", r"'training\.epochs'.*greater than or equal to 1.*\(it is 0\)"),
        ("training.schedule=linear", r"'training\.schedule'.*'cosine' or 'plateau'.*'linear'"),
        ("training.learning_rate=fast", r"'training\.learning_rate'.*number.*'fast'"),
        ("training.learning_rate=nan", r"'training\.learning_rate'.*nan"),
        ("training.learning_rate=1e999", r"'training\.learning_rate'.*inf"),
        ("training.frame_dropout=1", r"'training\.frame_dropout'.*less than 1"),
        ("training.inner_folds=6", r"'training': 6 inner folds, each with another 0\.2 of the clips: at most 5 fit"),
        ("training.retrain=none", r"'training': retrain 'none' keeps the one classifier that was validated"),
        ("training.precision=bfloat16", r"training\.precision is for networks on frames"),
        ("test=1", r"'test'.*less than 1.*\(it is 1\)"),
        ("streams={}", r"'streams'"),
        (
            "streams.plain.kind=optical-flow",
            r"'streams\.plain': no kind of stream is called 'optical-flow'; choose one of: app",
        ),
        ("head=7", r"'head'.*7"),
        ("name.first=x", r"'name' is a value, 'default-0\.1', and has no keys below it"),
        ("training.epochs", r"'training\.epochs' changes nothing; write key=value"),
        ("=3", r"'=3' changes nothing"),
        ("seed=[1", r"the value in 'seed=\[1' is not YAML"),
        ("seed=2024-13-45", r"'seed': Input should be a valid integer.*2024-13-45"),
        ("seed=" + "[" * 3000, r"the value in 'seed=\[+\.\.\.' is nested more than 32 levels deep"),
        ("streams.x={name: y}", "'streams.x"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_way_out(change: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        load_recipe("default-0.1", changes=[change])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: [1", "is not YAML"),
        ("", "holds no keys"),
        ("- a\n- b\n", "holds no keys"),
        ("name: x\ndescription: y\n", r"'sampling' is missing; 'streams' is missing; 'head' is missing"),
        ("!!python/object/apply:os.system ['true']", "has a value of the type .*os.system in line 1"),
        ("seed: !!timestamp 2026-01-01", "has a value of the type !!timestamp in line 1"),
        ("name: x\nseed: 1\nseed: 2\n", "has the key 'seed' twice, again in line 3: keep one"),
        ("training: {epochs: 1, epochs: 2}\n", "has the key 'epochs' twice"),
        ("seed: " + "9" * 5000, "has a number of 5,000 digits in line 1"),
        ("seed: 0x" + "f" * 4999, "has a number of 5,001 digits in line 1"),
        ("a: &a [*a]", "has a value that contains itself"),
        ("a: &a " + "[" * 5000, "is nested more than 32 levels deep"),
        ("? [a]\n: b\n", "has a list or a mapping as a key"),
        ('name: "\\ud800"', "half a character"),
        ("x" * 1_000_001, "has 1,000,001 characters"),
    ],
)
def test_a_file_that_is_no_recipe_says_so(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=sentence) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


def test_aliases_that_stand_for_a_million_values_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]" for number in range(1, 7)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(RecipeError, match="stands for more than 20,000 values, by the aliases in line"):
        load_recipe(tmp_path / "bomb.yaml")


def test_an_alias_and_a_date_as_a_name_are_read(tmp_path: Path) -> None:
    values = yaml.safe_load(text_of("default-0.1")) | {"name": "NAME", "description": "DESCRIPTION"}
    text = yaml.safe_dump(values, sort_keys=False).replace("NAME", "&day 2026-01-01").replace("DESCRIPTION", "*day")
    (tmp_path / "dated.yaml").write_text(text, encoding="utf-8")
    assert load_recipe(tmp_path / "dated.yaml").name == "2026-01-01"


def test_a_recipe_file_that_is_not_there_or_no_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "bytes.yaml")


def test_an_unknown_recipe_answers_with_what_was_probably_meant() -> None:
    with pytest.raises(UnknownNameError, match=r"no recipe is called 'aito'; did you mean 'auto'\?") as caught:
        load_recipe("aito")
    assert isinstance(caught.value, UsageError)


def test_the_earlier_name_of_the_default_gives_the_new_one_and_says_what_the_old_one_is_called() -> None:
    with pytest.warns(FutureWarning, match=r"now called 'auto'.*that of marey 0\.1 is 'default-0\.1'"):
        assert load_recipe("default") == load_recipe(DEFAULT_RECIPE)


def test_views_are_the_plain_one_then_the_random_ones_then_their_mirror_images() -> None:
    assert [(view.index, view.mirrored) for view in Views().readings] == [(0, False)]
    both = Views(random=1, mirrored="train").readings
    assert [(view.index, view.mirrored) for view in both] == [(0, False), (1, False), (0, True), (1, True)]


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("rounds", "inner_folds", 2),
        ("refit", "retrain", "all"),
        ("time_jitter", "temporal_jitter", 3),
        ("frame_drop", "frame_dropout", 0.5),
    ],
)
def test_the_keys_of_an_earlier_version_are_read_with_a_warning(
    old: str, new: str, value: object, tmp_path: Path
) -> None:
    expected = load_recipe("bilstm", changes=[f"training.{new}={value}"])
    message = f"'training.{old}' is now called 'training.{new}'"
    with pytest.warns(FutureWarning, match=message):
        assert load_recipe("bilstm", changes=[f"training.{old}={value}"]) == expected
    text = expected.to_yaml().replace(f"  {new}:", f"  {old}:").replace(f"training.{new}:", f"training.{old}:")
    (tmp_path / "earlier.yaml").write_text(text, encoding="utf-8")
    with pytest.warns(FutureWarning, match=message):
        assert load_recipe(tmp_path / "earlier.yaml") == expected
    with pytest.warns(FutureWarning, match=message):
        assert Training.model_validate({old: value}) == Training.model_validate({new: value})
