"""A reporter for tests."""

from __future__ import annotations

from marey.progress import Reporter


class Said(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def __contains__(self, part: str) -> bool:
        return any(part in sentence for sentence in self.sentences)
