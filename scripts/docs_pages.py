"""Pages of the documentation that are made from the sources: a hook of MkDocs (`hooks` in mkdocs.yml).

The API reference has a page for each package of `marey`, with what its `__init__.py` exports; the page of recipes gets
their table and `auto.yaml`. Only files are read: nothing of marey is imported.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SOURCE: Final = Path(__file__).resolve().parents[1] / "src" / "marey"
MODULES: Final = ("client", "errors")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the API into the navigation."""
    for entry in config.nav or []:
        if "API" in entry:
            entry["API"] = [{title: f"api/{name}.md"} for name, title in _packages().items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Make the pages of the API."""
    for name, title in _packages().items():
        files.append(File.generated(config, f"api/{name}.md", content=_page(name, title)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in `{{ recipes }}` and `{{ auto.yaml }}`."""
    if "{{ recipes }}" in markdown:
        markdown = markdown.replace("{{ recipes }}", _recipes())
        default = (SOURCE / "recipes" / "auto.yaml").read_text(encoding="utf-8")
        markdown = markdown.replace("{{ auto.yaml }}", f"```yaml\n{default}```")
    return re.sub(r"\]\((?:\.\./)+(src|tests|benchmarks|scripts|examples|[A-Z]+\.md)", _to_repository, markdown)


def _to_repository(link: re.Match[str]) -> str:
    """Lead a link to a file outside docs/ to the repository."""
    return f"](https://github.com/marey-project/marey/blob/main/{link[1]}"


def _packages() -> dict[str, str]:
    """Return the pages of the API in their order, with their titles: packages, then single modules."""
    packages = [path.parent.name for path in sorted(SOURCE.glob("*/__init__.py"))]
    names = [name for name in packages if _exports(f"marey.{name}")]
    return {"marey": "marey"} | {name: f"marey.{name}" for name in [*names, *MODULES]}


def _page(name: str, title: str) -> str:
    """Return a page: the docstring, and a directive for each public class and function."""
    paragraphs = (ast.get_docstring(_tree(title)) or "").split("\n\n")
    drawn = [f"```text\n{each}\n```" if "──" in each else each for each in paragraphs]
    paths = _exports(title) if name not in MODULES else [f"{title}.{each.name}" for each in _public(title)]
    return "\n\n".join([f"# {title}", *drawn, *(f"::: {path}" for path in paths)]) + "\n"


@cache
def _tree(module: str) -> ast.Module:
    """Return the syntax tree of a module or a package."""
    path = SOURCE.parent.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _exports(package: str) -> list[str]:
    """Return where the classes and functions in `__all__` of a package are defined; functions come last."""
    found: list[tuple[bool, str]] = []
    for node in _tree(package).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            for name in ast.literal_eval(node.value):
                path, definition = _definition(package, name)
                if isinstance(definition, ast.ClassDef | ast.FunctionDef):
                    found.append((isinstance(definition, ast.FunctionDef), path))
    return [path for _, path in sorted(found, key=lambda each: each[0])]


def _definition(module: str, name: str) -> tuple[str, ast.AST | None]:
    """Follow imports to the module that defines a name; None where it is no class or function of marey."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("marey") and node.module != module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _definition(node.module or "", alias.name)
    return f"{module}.{name}", next((each for each in _public(module) if each.name == name), None)


def _public(module: str) -> list[ast.ClassDef | ast.FunctionDef]:
    """Return the public classes and functions that a module defines."""
    defined = [node for node in _tree(module).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return [node for node in defined if not node.name.startswith("_")]


def _recipes() -> str:
    """Return the table of all recipes."""
    rows = ["| recipe | architecture |", "|---|---|"]
    for path in sorted((SOURCE / "recipes").glob("*.yaml"), key=lambda path: (path.stem != "default", path.stem)):
        rows.append(f"| `{path.stem}` | {yaml.safe_load(path.read_text(encoding='utf-8'))['description']} |")
    return "\n".join(rows)
