"""The documentation: its commands, snippets and links, and the site that is made of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from marey.training import load_recipe
from test_readme import blocks, calls, lines, parse

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = [DOCS / "index.md", DOCS / "recipes.md", DOCS / "scale.md", *sorted((DOCS / "guides").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_the_pages_have_the_options_that_the_program_knows(page: Path) -> None:
    if page.stem == "extend":
        return  # its commands need what the page adds: test_extend runs them
    for line in lines(page.read_text(encoding="utf-8")):
        for arguments in calls(line):
            parse(arguments)


@pytest.mark.parametrize("page", [*PAGES, DOCS / "seeds.md"], ids=lambda page: page.stem)
def test_links_of_the_pages_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    made = [target for target in targets if "://" in target or target.startswith("api/")]
    assert not [target for target in targets if target not in made and not (page.parent / target).exists()]


def test_the_recipe_that_the_page_of_recipes_writes_can_be_loaded(tmp_path: Path) -> None:
    (written,) = [text for text in blocks("yaml", (DOCS / "recipes.md").read_text(encoding="utf-8")) if "name:" in text]
    (tmp_path / "my-recipe.yaml").write_text(written, encoding="utf-8")
    assert load_recipe(str(tmp_path / "my-recipe.yaml")).name == "my-recipe"


def test_the_page_of_recipes_names_every_section_of_a_recipe() -> None:
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `.*?\|", (DOCS / "recipes.md").read_text(), re.M))))
    assert set(type(load_recipe("auto")).model_fields) - {"name", "description"} <= named


@pytest.mark.long
def test_the_python_of_the_pages_passes_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    for page in PAGES:
        for number, text in enumerate(blocks("python", page.read_text(encoding="utf-8"))):
            (tmp_path / f"{page.stem.replace('-', '_')}_{number}.py").write_text(text, encoding="utf-8")
    checked = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "mypy", "--strict", *map(str, sorted(tmp_path.glob("*.py")))],
        cwd=DOCS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    "page",
    [*PAGES, *(DOCS / name for name in ("architecture.md", "results.md", "seeds.md"))],
    ids=lambda page: page.name,
)
def test_lines_of_prose_have_at_most_100_characters(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    kept = [line for line in prose.splitlines() if not line.lstrip().startswith(("|", "![")) and line[:4].strip()]
    assert [line for line in kept if len(line) > 100] == []
