"""What a user may set of the read stage. Formats are known by suffix and are no parameter."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from llm_assets.contract.stage import Parameters


class ReadParameters(Parameters):
    """Which fields of a record hold its text and its own id. Ignored for .txt and .md files, which are one text."""

    text_field: str = Field(default="text", min_length=1, description="Field or column that holds the text.")
    id_field: str = Field(
        default="id", min_length=1, description="Field or column that holds the record's own id; it may be absent."
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.text_field == self.id_field:
            raise ValueError(f"text_field and id_field are both {self.text_field!r}")
        return self
