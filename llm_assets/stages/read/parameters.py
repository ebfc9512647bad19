"""Settings of the read stage: which fields of a record are used, and how files are understood.

Guarantees that what is named exists (formats, encodings, readers) and that the names fit each other. What the settings
do is the business of `selection.py` (fields) and `formats.py` (files).
"""

from __future__ import annotations

import codecs
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from llm_assets.contract.stage import Parameters
from llm_assets.stages.read.reader import Reader
from llm_assets.stages.read.suffixes import STREAMED, WHOLE, suffix_of

FieldName = Annotated[str, Field(min_length=1)]
Unit = Literal["file", "line", "paragraph"]

DETECT = "detect"
UTF8 = "utf-8"


class ReadParameters(Parameters):
    """Which fields of a record are its text, its id and its metadata, and how files are understood.

    `doc.text` names the field `text` of the object `doc`, unless a field has that name with its dot.
    """

    text_field: FieldName | tuple[FieldName, ...] = Field(
        default="text", description="Field or column that holds the text, or a list of them that are joined."
    )
    template: str | None = Field(
        default=None,
        description='How a list of fields is joined, as "{title}\\n\\n{doc.body}"; default: a blank line in between.',
    )
    id_field: FieldName = Field(
        default="id", description="Field or column that holds the record's own id; it may be absent."
    )
    metadata: Literal["all", "none"] | tuple[FieldName, ...] = Field(
        default="all", description="Which other fields are kept: `all`, `none`, or a list. Parquet reads no others."
    )
    formats: dict[str, str] = Field(
        default_factory=dict,
        description='What suffixes stand for, as `{".log": ".txt"}`; `""` is a name without a suffix.',
    )
    encoding: str = Field(
        default=UTF8, description="Encoding of text files, as `cp1252`, or `detect` to find it out for each file."
    )
    unit: Unit = Field(default="file", description="One document of a text file: the `file`, a `line`, a `paragraph`.")
    keep_line_ends: bool = Field(default=False, description="Whether a line or paragraph keeps its line end.")
    readers: tuple[Reader, ...] = Field(
        default=(), description="Readers of further formats; they come before those of this package."
    )

    @property
    def text_fields(self) -> tuple[str, ...]:
        """The fields that make the text, at least one."""
        return (self.text_field,) if isinstance(self.text_field, str) else self.text_field

    @property
    def further_suffixes(self) -> tuple[str, ...]:
        """The formats that `readers` read."""
        return tuple(suffix for reader in self.readers for suffix in reader.suffixes)

    @field_validator("formats")
    @classmethod
    def _are_suffixes(cls, formats: dict[str, str]) -> dict[str, str]:
        for suffix, stands_for in formats.items():
            if not stands_for.startswith(".") or (suffix and not suffix.startswith(".")):
                raise ValueError(f"a suffix begins with a dot: {suffix!r}: {stands_for!r}")
        return {suffix.lower(): stands_for.lower() for suffix, stands_for in formats.items()}

    @model_validator(mode="after")
    def _formats_are_known(self) -> Self:
        for suffix, stands_for in self.formats.items():
            if suffix_of(f"name{stands_for}", {}, self.further_suffixes) is None:
                known = " ".join((*self.further_suffixes, *STREAMED, *WHOLE))
                raise ValueError(f"formats: {suffix!r}: no reader for {stands_for!r}; there are: {known}")
        return self

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        if encoding == DETECT:
            return encoding
        try:
            "a".encode(encoding)
        except LookupError:
            raise ValueError(f"{encoding!r} is no encoding of text that Python knows, and not {DETECT!r}") from None
        return codecs.lookup(encoding).name

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = self.text_fields
        if not names or len(set(names)) < len(names):
            raise ValueError("text_field is empty or names a field twice")
        if self.id_field in names:
            raise ValueError(f"text_field and id_field are both {self.id_field!r}")
        return self

    @model_validator(mode="after")
    def _template_fits(self) -> Self:
        if self.template is None:
            return self
        try:
            parsed = list(Formatter().parse(self.template))
        except ValueError as error:
            raise ValueError(f"template {self.template!r}: {error}; write {{{{ and }}}} for braces") from None
        if any(layout or conversion for _, _, layout, conversion in parsed):
            raise ValueError(f"template {self.template!r}: only names stand between braces")
        used = {name for _, name, _, _ in parsed if name is not None}
        if used != set(self.text_fields):
            raise ValueError(f"template uses {sorted(used)}, but text_field names {sorted(self.text_fields)}")
        return self
