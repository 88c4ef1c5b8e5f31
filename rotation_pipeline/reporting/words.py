"""The page's language: a dictionary of short texts, each in English and Chinese."""

from __future__ import annotations

import string
from typing import Literal

from rotation_pipeline.reporting.phrases import PHRASES
from rotation_pipeline.reporting.vocabulary import VOCABULARY

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
TEXTS: dict[str, tuple[str, str]] = {**VOCABULARY, **PHRASES}
"""Key → (English, Chinese)."""


class LanguageError(ValueError):
    """The language is not one the report is written in."""


class Words:
    """Looks texts up in one language: ``words("style.MOM")``, ``words("sample", start=…)``.

    Raises:
        LanguageError: the language is neither ``en`` nor ``zh``.
        KeyError: a key that is not in the dictionary, by name (a slip in the code, never in the data).
    """

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise LanguageError(f"report language {language!r} is unknown; choose one of {', '.join(LANGUAGES)}")
        self.language: Language = language
        self._place = LANGUAGES.index(self.language)

    def __call__(self, key: str, **values: object) -> str:
        text = TEXTS[key][self._place]
        return text.format(**values) if values else text

    def has(self, key: str) -> bool:
        """Whether the dictionary knows the key (names that come from data may be unknown)."""
        return key in TEXTS

    def named(self, prefix: str, name: str) -> str:
        """The text for a name that comes from data, or the name itself where the dictionary has none."""
        key = f"{prefix}.{name}"
        return self(key) if self.has(key) else name


def placeholders(text: str) -> set[str]:
    """Names in braces of a text."""
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}
