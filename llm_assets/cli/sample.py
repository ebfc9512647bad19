"""`llm-assets sample`: what was drawn, for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from llm_assets.stages.clean.sampling import DrawnStratum

_SHOWN = 50


def strata_table(by: Sequence[str], drawn: Sequence[DrawnStratum]) -> Table:
    """A line for each stratum, the largest fifty where there are more, and one for all."""
    largest = sorted(range(len(drawn)), key=lambda number: -drawn[number].documents)[:_SHOWN]
    table = Table(box=None, header_style="bold", pad_edge=False, show_footer=True)
    for place, name in enumerate(by or ["stratum"]):
        table.add_column(name, footer="" if place else "all", no_wrap=True)
    for name, total in (
        ("documents", sum(each.documents for each in drawn)),
        ("taken", sum(each.taken for each in drawn)),
    ):
        table.add_column(name, footer=f"{total:,}", justify="right", no_wrap=True)
    for each in (drawn[number] for number in sorted(largest)):
        of = [each.of[name] for name in by] or ["all documents"]
        table.add_row(*of, f"{each.documents:,}", f"{each.taken:,}")
    if len(drawn) > _SHOWN:
        rest = [each for number, each in enumerate(drawn) if number not in set(largest)]
        others = [f"{len(rest):,} others", *[""] * (len(by) - 1)]
        counts = (sum(each.documents for each in rest), sum(each.taken for each in rest))
        table.add_row(*others, *(f"{count:,}" for count in counts))
    return table
