from __future__ import annotations

from typing import Annotated, Literal

import pytest
import torch
from pydantic import Field

from marey.errors import UnknownNameError, UsageError
from marey.models import Head, HeadSpec, create_head, head_names, head_options, register_head, registry

every_head = pytest.mark.parametrize("name", head_names("features"))


@every_head
def test_every_option_has_a_default_that_is_a_number_or_a_choice(name: str) -> None:
    options = head_options(name)
    assert "dropout" in options
    assert all(isinstance(value, int | float | str) for value in options.values())
    assert create_head(name, (4,), 2, options).classes == 2


@pytest.mark.parametrize(("name", "meant"), [("lsmt", "lstm"), ("transfomer", "transformer"), ("Mean", "mean")])
def test_an_unknown_head_answers_with_what_was_probably_meant(name: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=f"no head is called '{name}'; did you mean .*'{meant}'"):
        create_head(name, (4,), 2)
    with pytest.raises(UnknownNameError):
        head_options(name)


def test_an_unknown_option_answers_with_what_was_probably_meant() -> None:
    with pytest.raises(UnknownNameError, match="no option of the head 'lstm' is called 'hiden'; did you mean 'hidden'"):
        create_head("lstm", (4,), 2, {"hiden": 3})
    with pytest.raises(UnknownNameError, match="no option of the head 'mean' is called 'parts'"):
        create_head("mean", (4,), 2, {"parts": 3})
    with pytest.raises(UnknownNameError):
        create_head("mean", (4,), 2, {"dim": 3})


@every_head
@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, True, "3", None, float("nan"), float("inf"), 5000, 10**30])
def test_a_count_that_no_head_can_have_is_wrong_use(name: str, value: object) -> None:
    for option, default in head_options(name).items():
        if isinstance(default, int) and default:  # 0 stands for a part that is left out
            with pytest.raises(UsageError, match=f"{option} of the head '{name}' has to be a whole number from 1 to"):
                create_head(name, (8,), 2, {option: value})


@every_head
@pytest.mark.parametrize("value", [-0.1, 1.1, True, "0.5", None, float("nan"), float("inf"), 10**30])
def test_a_share_that_is_none_is_wrong_use(name: str, value: object) -> None:
    for option, default in head_options(name).items():
        if isinstance(default, float):
            with pytest.raises(UsageError, match=f"{option} of the head '{name}' has to be a number from 0 to 1"):
                create_head(name, (8,), 2, {option: value})


@pytest.mark.parametrize("name", ["attention", "transformer"])
def test_values_that_exclude_each_other_are_wrong_use(name: str) -> None:
    with pytest.raises(UsageError, match=f"the head '{name}' cannot be built with .*'heads': 3"):
        create_head(name, (8,), 2, {"hidden": 16, "heads": 3})


@every_head
def test_options_do_what_they_say(name: str) -> None:
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in create_head(name, (8,), 2).parameters())
        for option, default in head_options(name).items():
            if isinstance(default, int) and default and option != "heads":
                larger = create_head(name, (8,), 2, {option: 2 * default})
                assert sum(parameter.numel() for parameter in larger.parameters()) > size


def test_two_heads_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="two heads are called 'mean'"):
        register_head("mean")(Head)


class Choosy(Head):
    """A head with an option of each kind."""

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        pool: Literal["mean", "max"] = "mean",
        bias: bool = True,
        gain: Annotated[float, Field(gt=0, le=8)] = 2.0,
        share: float = 0.5,
        title: str = "",
    ) -> None:
        super().__init__(classes)
        self.given: tuple[object, ...] = (pool, bias, gain, share, title)


@pytest.fixture
def choosy(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register the head for one test."""
    monkeypatch.setattr(registry, "_HEADS", dict(registry._HEADS))
    register_head("choosy")(Choosy)
    return "choosy"


def test_options_may_be_choices_booleans_text_and_numbers_beyond_one(choosy: str) -> None:
    options = {"pool": "max", "bias": False, "gain": 8.0, "share": 1, "title": "a"}
    spec = HeadSpec.model_validate({"name": choosy, "options": {**options, "gain": "8e0"}})
    assert spec.options == options
    head = create_head(choosy, (4,), 2, spec.options)
    assert isinstance(head, Choosy)
    assert head.given == ("max", False, 8.0, 1, "a")
    assert HeadSpec.model_validate_json(spec.model_dump_json()) == spec
    assert head_options(choosy) == {"pool": "mean", "bias": True, "gain": 2.0, "share": 0.5, "title": ""}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("pool", "maxx", "no pool of the head 'choosy' is called 'maxx'; did you mean 'max'"),
        ("pool", 3, "pool of the head 'choosy' has to be different .*'mean' or 'max'.*, not 3"),
        ("bias", 1, "bias of the head 'choosy' has to be true or false, not 1"),
        ("gain", 8.5, "gain of the head 'choosy' has to be different .*less than or equal to 8.*, not 8.5"),
        ("gain", "much", "gain of the head 'choosy' has to be different .*valid number.*, not 'much'"),
        ("share", 2.0, "share of the head 'choosy' has to be a number from 0 to 1, not 2.0"),
        ("title", 3, "title of the head 'choosy' has to be text, not 3"),
        ("titel", "", "no option of the head 'choosy' is called 'titel'; did you mean 'title'"),
    ],
)
def test_a_value_of_another_kind_is_wrong_use(choosy: str, option: str, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_head(choosy, (4,), 2, {option: value})
