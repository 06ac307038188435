"""The words of the field in code, docstrings, messages and pages: one word a thing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

BANNED = {
    "film": "video",
    "films": "videos",
    "picture": "image or frame",
    "pictures": "images or frames",
    "instant": "timestamp",
    "instants": "timestamps",
    "plate": "chronophotograph",
    "plates": "chronophotographs",
    "chance": "random, generator",
    "processor": "CPU",
    "processors": "CPUs",
    "sure": "confidence",
}
"""Words with the field's own word in their place."""

ALLOWED = (
    r"(?i)chance[_ ]level",
    r"photographic plate",  # of Marey himself
    r"picture-in-picture",
    r"(?i)(image|video|auto|pre|post)_?processors?",  # classes of the library transformers
    r"processor_config|preprocessor",
    r"platform\.processor",
    r"(def |Playback\.)picture\b|(def |Sampling\.)instants\b",  # earlier names, which warn
    r'"(chance|plate|pictures|processor)"|metrics\[.chance.\]',  # keys of files and options of earlier versions
    r"\bat chance\b",
    r"video\|vid\|film",  # in names of users' files
)
"""Uses in which the word is a term or somebody else's name."""


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def sources() -> Iterator[Path]:
    """Yield the modules of marey."""
    yield from (ROOT / "src" / "marey").rglob("*.py")


def pages() -> Iterator[Path]:
    """Yield the files whose words users and readers meet."""
    for pattern in ("src/marey/**/*.py", "src/marey/**/*.yaml", "src/marey/**/*.j2", "docs/**/*.md", "examples/*"):
        yield from ROOT.glob(pattern)
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md"))


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, those of names with underscores and capitals too."""
    for pattern in ALLOWED:
        text = re.sub(pattern, " ", text)
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)]


def wrong_words(text: str) -> list[str]:
    """Return what a text says, and what to write in its place."""
    return [
        f"line {number}: {word!r}: write {BANNED[word]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for word in words(line)
        if word in BANNED
    ]


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in sorted(pages())])
def test_a_file_uses_the_words_of_the_field(path: Path) -> None:
    assert wrong_words(path.read_text(encoding="utf-8")) == []


def test_a_banned_word_is_found_in_prose_and_in_names() -> None:
    assert wrong_words("a film") == ["line 1: 'film': write video"]
    assert wrong_words("\ndef count_pictures(LastInstant): ...") == [
        "line 2: 'pictures': write images or frames",
        "line 2: 'instant': write timestamp",
    ]
    assert wrong_words("template, filmed, chance level, AutoVideoProcessor, preprocessor") == []


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in sorted(sources())])
def test_no_docstring_begins_with_a_question_word(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, DOCUMENTED)]
    assert [text.partition("\n")[0] for text in found if re.match(r"(What|Who|How|Whether|Which|When)\b", text)] == []
