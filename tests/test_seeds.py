"""The page on other systems: what it names exists, and what it counts is so."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import yaml

from test_readme import calls, parse

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (.*?) ?\|$", PAGE, re.MULTILINE)
RECIPES = {path.stem: path for path in (ROOT / "src" / "marey" / "recipes").glob("*.yaml")}
KINDS = ("full", "otherwise", "missing")


def kind(place: str) -> str:
    return next((name for name in KINDS[1:] if place.startswith(f"**{name}")), "full")


def quoted(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


COMMANDS = sorted({text for _, _, place, _ in ROWS for text in quoted(place) if text.startswith("marey ")})


@cache
def functions_of(path: Path) -> frozenset[str]:
    """Return the names of the functions of a file of tests, without importing it."""
    return frozenset(
        node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
    )


def test_the_rows_are_numbered_one_after_the_other() -> None:
    assert len(ROWS) >= 133
    assert [int(number) for number, *_ in ROWS] == list(range(1, len(ROWS) + 1))
    assert len(re.findall(r"^\| \d+ \|", PAGE, re.MULTILINE)) == len(ROWS)


def test_every_test_that_the_page_names_exists() -> None:
    missing = []
    for number, _, place, tests in ROWS:
        named = quoted(tests)
        assert (kind(place) == "missing") == (not named), f"row {number}"
        for name in named:
            path, _, function = name.partition("::")
            if not (ROOT / path).is_file() or function not in functions_of(ROOT / path):
                missing.append(f"row {number}: {name}")
    assert missing == []


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_the_page_have_the_options_that_the_program_knows(line: str) -> None:
    for arguments in calls(line):
        parse(arguments)


def test_every_recipe_that_the_page_names_is_one() -> None:
    for line in COMMANDS:
        for names in re.findall(r"--recipes? (\S+)", line):
            assert {name for name in names.split(",") if not name.endswith(".yaml")} <= RECIPES.keys(), line
        assert set(re.findall(r"^marey models (\S+)", line)) <= RECIPES.keys(), line
    for _, _, place, _ in ROWS:
        for names in re.findall(r"recipes? ((?:`[^`]+`(?:, )?)+)", place):
            assert set(quoted(names)) <= RECIPES.keys(), place


def test_every_option_of_a_head_that_the_page_sets_is_one_of_its_recipe() -> None:
    for line in COMMANDS:
        for name in re.findall(r"--recipe (\S+)", line):
            if name not in RECIPES:
                continue
            options = yaml.safe_load(RECIPES[name].read_text(encoding="utf-8"))["head"].get("options", {})
            assert set(re.findall(r"--set head\.options\.(\w+)=", line)) <= options.keys(), line


def test_targets_and_names_in_python_that_the_page_names_exist() -> None:
    places = [text for _, _, place, _ in ROWS for text in quoted(place)]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [text for text in places if text.startswith("make ") and f"\n{text.split()[1]}:" not in makefile] == []
    exported = (ROOT / "src" / "marey" / "training" / "__init__.py").read_text(encoding="utf-8")
    named = [text.removeprefix("marey.training.") for text in places if text.startswith("marey.training.")]
    assert named
    assert [name for name in named if f'"{name}"' not in exported] == []
    assert [text for text in places if text.startswith("examples/") and not (ROOT / text).is_file()] == []


def test_the_counts_above_the_tables_are_those_of_the_rows() -> None:
    total: Counter[str] = Counter()
    for title, first, last, *counts in re.findall(
        r"^\| (.+?) \| (\d+) to (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE
    ):
        part = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        assert re.findall(r"^\| (\d+) \|", part, re.MULTILINE) == [str(n) for n in range(int(first), int(last) + 1)]
        found = Counter(kind(place) for number, _, place, _ in ROWS if int(first) <= int(number) <= int(last))
        assert [found[name] for name in KINDS] == [int(count) for count in counts]
        total += found
    all_rows = "".join(f" {number} |" for number in (len(ROWS), *(total[name] for name in KINDS)))
    assert f"\n| all |{all_rows}\n" in PAGE


def test_what_is_done_otherwise_has_a_reason() -> None:
    for number, _, place, _ in ROWS:
        if kind(place) == "otherwise":
            assert place.startswith("**otherwise:** "), f"row {number}"
            assert len(re.sub(r"`[^`]+`", "", place)) > 60, f"row {number}"
