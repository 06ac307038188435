"""YAML of recipes: what a person writes there, and nothing that costs more than it says.

PyYAML's safe loader makes no objects, but an alias of an alias of ... takes memory without end, the last of doubled
keys is taken in silence, and dates and numbers of any length are read.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_MAX_CHARACTERS: Final = 1_000_000
_MAX_DEPTH: Final = 32
_MAX_VALUES: Final = 20_000  # with each alias counted as what it stands for
_MAX_DIGITS: Final = 40
_SHOWN: Final = 60
_PLAIN: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")
)


class YamlTextError(Exception):
    """YAML that is not read; the message is the end of a sentence about it."""


class _Loader(yaml.SafeLoader):
    """The safe loader, to which dates are text; it stops where values are nested too deeply."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Return the next node."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise YamlTextError(f"is nested more than {_MAX_DEPTH} levels deep: write it flatter")
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str) -> Any:
    """Return the content of a YAML text: mappings, lists, text, numbers, truth values and null.

    Raises:
        YamlTextError: it is not YAML, is too large, is nested too deeply, holds itself, has a key twice, a number of
            too many digits, or a tag such as !!timestamp.
    """
    if len(text) > _MAX_CHARACTERS:
        raise YamlTextError(f"has {len(text):,} characters, and at most {_MAX_CHARACTERS:,} are read")
    loader = _Loader("")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node)
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise YamlTextError(f"is not YAML: {_shortened(str(error))}") from error
    finally:
        loader.dispose()


def _check(root: Node) -> None:
    """Refuse what is too large, doubled, or no plain value."""
    sizes: dict[int, int] = {}  # by the identity of a node, which an alias shares
    open_nodes: set[int] = set()

    def size_of(node: Node) -> int:
        place = f"line {node.start_mark.line + 1}"
        if node.tag not in _PLAIN:
            name = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise YamlTextError(f"has a value of the type {name[:_SHOWN]} in {place}: write text, a number or a list")
        if id(node) in open_nodes:
            raise YamlTextError(f"has a value that contains itself, in {place}: write it without the alias")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(size_of(each) for each in _inside(node, place))
            open_nodes.remove(id(node))
        if sizes[id(node)] > _MAX_VALUES:
            raise YamlTextError(
                f"stands for more than {_MAX_VALUES:,} values, by the aliases in {place}: leave them out"
            )
        return sizes[id(node)]

    size_of(root)


def _inside(node: Node, place: str) -> list[Node]:
    if isinstance(node, ScalarNode):
        digits = sum(letter.isalnum() for letter in node.value)  # also those of 0xff
        if any("\ud800" <= letter <= "\udfff" for letter in node.value):
            raise YamlTextError(f"has a text with half a character (a surrogate) in {place}: write the character")
        if node.tag.endswith((":int", ":float")) and digits > _MAX_DIGITS:
            raise YamlTextError(f"has a number of {digits:,} digits in {place}; at most {_MAX_DIGITS} are read")
        return []
    if isinstance(node, SequenceNode):
        return list(node.value)
    if isinstance(node, MappingNode):
        seen: set[tuple[str, Hashable]] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise YamlTextError(f"has a list or a mapping as a key in {place}: a key is a word")
            if (key.tag, key.value) in seen and not key.tag.endswith(":merge"):
                raise YamlTextError(
                    f"has the key '{key.value[:_SHOWN]}' twice, again in line {key.start_mark.line + 1}: keep one"
                )
            seen.add((key.tag, key.value))
        return [each for pair in node.value for each in pair]
    return []


def _shortened(text: str) -> str:
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= 300 else f"{line[:297]}..."
