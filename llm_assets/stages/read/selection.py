"""Takes a record apart: its text, its own id and its metadata, as the parameters name the fields.

Guarantees the same choice for every format. A name is a field as it stands, or a path: `doc.text` is `text` in `doc`.
Of an object that a text was taken from, what is left is metadata, and nothing if nothing is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from string import Formatter
from typing import Any, cast

from llm_assets.stages.read.parameters import ReadParameters

Fields = dict[str, Any]
_BETWEEN = "\n\n"


@dataclass(frozen=True)
class Taken:
    """The parts of a record. A text is absent where it is None; `metadata` has all other fields that are asked for."""

    texts: tuple[Any, ...]
    own_id: Any
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Selection:
    """Which fields make the text, the id and the metadata."""

    parameters: ReadParameters

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Names of the fields that make the text."""
        return self.parameters.text_fields

    @cached_property
    def listed(self) -> tuple[str, ...] | None:
        """Names of the metadata that are asked for; None for all."""
        metadata = self.parameters.metadata
        return None if metadata == "all" else () if metadata == "none" else metadata

    @cached_property
    def _pieces(self) -> list[tuple[str, int | None]]:
        """The template: literal text, and the number of the field that follows it."""
        parsed = Formatter().parse(self.parameters.template or "")
        return [(literal, None if name is None else self.texts.index(name)) for literal, name, _, _ in parsed]

    def take(self, fields: Fields) -> Taken:
        """The parts of a record; `fields` is used up."""
        kept = fields if self.listed is None else self.chosen(fields)
        texts = tuple(_pop(fields, name) for name in self.texts)
        own_id = _pop(fields, self.parameters.id_field)
        return Taken(texts, own_id, kept)

    def chosen(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Those of the fields that are kept as metadata, where each field may be."""
        if self.listed is None:
            return fields
        found = {name: find(fields, name) for name in self.listed}
        return {name: value for name, value in found.items() if value is not ABSENT}

    def joined_bytes(self, texts: Sequence[bytes | None]) -> bytes | None:
        """As `joined`, in UTF-8. A single text may be none; raises UnicodeDecodeError where one of several is not."""
        if self._is_plain:
            return texts[0]
        text = self.joined([None if each is None else each.decode() for each in texts])
        return None if text is None else text.encode()

    @cached_property
    def _is_plain(self) -> bool:
        """Whether the text is one field as it stands."""
        return len(self.texts) == 1 and self.parameters.template is None

    def joined(self, texts: Sequence[str | None]) -> str | None:
        """The text of a record: None where all of its fields are None.

        Without a template those that are there, with a blank line in between; in a template, what is not is empty.
        """
        if self._is_plain:
            return texts[0]
        present = [text for text in texts if text is not None]
        if not present:
            return None
        if self.parameters.template is None:
            return _BETWEEN.join(present)
        return "".join(literal + ("" if place is None else texts[place] or "") for literal, place in self._pieces)


ABSENT = object()
"""Stands for a field that is not there, where None would be a value of it."""


def find(fields: Mapping[str, Any], name: str) -> Any:
    """The field of that name or path, or ABSENT."""
    if name in fields:
        return fields[name]
    first, _, rest = name.partition(".")
    inner = fields.get(first) if rest else None
    return find(cast("Mapping[str, Any]", inner), rest) if isinstance(inner, dict) else ABSENT


def _pop(fields: Fields, name: str) -> Any:
    """Take out the field of that name or path, with what holds it if nothing else is in there; None if absent."""
    if name in fields:
        return fields.pop(name)
    first, _, rest = name.partition(".")
    inner = fields.get(first) if rest else None
    if not isinstance(inner, dict):
        return None
    before = len(cast("Fields", inner))
    value = _pop(cast("Fields", inner), rest)
    if before and not inner:
        del fields[first]
    return value
