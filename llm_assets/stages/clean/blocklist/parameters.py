"""Parameters of a source's blocklists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from llm_assets.stages.clean.rules import Bound, Entry, Rule

MAX_BLOCKLISTS: Final = 64
"""Most lists of one source: the lists of an entry are kept in 64 bits."""


class Blocklist(Entry):
    """A category of unwanted content: a file of words, a file of domains, or both, each a path or a URI.

    A document with more than `max_hits` hits, in its text and its URL together, is labelled with the name; with
    the action "drop" it also breaks the rule `blocklist.<name>` and is rejected.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    words: str | None = Field(default=None, min_length=1)
    domains: str | None = Field(default=None, min_length=1)
    max_hits: int = Field(default=0, ge=0)
    action: Literal["label", "drop"] = "label"

    @property
    def files(self) -> tuple[str, ...]:
        """The files it names."""
        return tuple(uri for uri in (self.words, self.domains) if uri is not None)

    @property
    def statistic(self) -> str:
        """The name of the number of hits among the statistics."""
        return f"blocklist.{self.name}"

    def rules(self) -> Iterator[Rule]:
        """The rule that a document with too many hits breaks, where that drops it."""
        if self.action == "drop":
            yield Rule(self.statistic, self.statistic, Bound.AT_MOST, float(self.max_hits))

    @model_validator(mode="after")
    def _has_a_file(self) -> Self:
        if not self.files:
            raise ValueError(f"blocklist {self.name} names neither a file of words nor one of domains")
        return self


def require_distinct(blocklists: Sequence[Blocklist]) -> None:
    """Raises ValueError for a name used twice, and for more than 64 lists."""
    names = [each.name for each in blocklists]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two blocklists are called {', '.join(twice)}")
    if len(names) > MAX_BLOCKLISTS:
        raise ValueError(f"{len(names)} blocklists: at most {MAX_BLOCKLISTS} are told apart")
