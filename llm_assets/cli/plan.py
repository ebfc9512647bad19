"""`llm-assets plan`: what a version of a mixture made now would be, from what is packed. Writes nothing, reads no row.

Rows are exact. Tokens are rows times the mean number of tokens in a row of their source, so they are exact where a
source is used up and expected values elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from llm_assets.chain.mixed import MixedLink
from llm_assets.chain.mixed_inputs import PlannedMixture
from llm_assets.chain.shuffle import Shuffle
from llm_assets.stages.mix.plan import SourcePlan
from llm_assets.store.layout import Store

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
PROVENANCE_BYTES = 8
"""On disk, of the record of a row: numbers hardly compress, names do."""


@dataclass(frozen=True)
class PhaseShare:
    """What one phase takes of one source."""

    phase: str
    first_row: int
    source: str
    share: float
    rows: int
    tokens: int


@dataclass(frozen=True)
class SourceUse:
    """What the mixture takes of one source in all.

    `available` rows can be used, beside those held out. `used_before` rows are used up by what the mixture continues;
    `repetitions` is how often the rows will have been used then and now, of `max_repetitions`. `left` more rows would
    be allowed.
    """

    source: str
    snapshots: tuple[str, ...]
    available: int
    held_out: int
    used_before: int
    rows: int
    tokens: int
    repetitions: float
    max_repetitions: float
    left: int


@dataclass(frozen=True)
class Planned:
    """A version that would be made.

    `disk_bytes` is its size, `work_bytes` the most that is on disk while it is made, itself included. `limited_by` are
    the sources without which it could be longer, where it is as long as can be.
    """

    mixture: str
    continues: str | None
    seed: int
    rows: int
    tokens: int
    held_out_rows: int
    disk_bytes: int
    work_bytes: int
    limited_by: tuple[str, ...]
    phases: tuple[PhaseShare, ...]
    sources: tuple[SourceUse, ...]

    def as_dict(self) -> dict[str, Any]:
        """A JSON form."""
        return asdict(self)


def plan(link: MixedLink, store: Store) -> Planned:
    """What a version of the mixture made now would be.

    Raises MissingInputError where something is not packed or not made yet, and MixtureError where the recipe cannot be
    followed with what there is: the message names sources and remedies.
    """
    planned = PlannedMixture.of(store, link.recipe(store))
    phases = tuple(_phases(planned))
    uses = tuple(_use(link, planned, source) for source in planned.plan.sources)
    held_out = sum(use.held_out for use in uses)
    size = _bytes(planned, held_out)
    parameters = link.parameters
    return Planned(
        mixture=link.name,
        continues=f"{parameters.continues} from row {parameters.from_row}" if parameters.continues else None,
        seed=planned.plan.seed,
        rows=planned.plan.total_rows,
        tokens=sum(use.tokens for use in uses),
        held_out_rows=held_out,
        disk_bytes=size,
        work_bytes=size + _spilled(planned),
        limited_by=planned.plan.limited_by,
        phases=phases,
        sources=uses,
    )


def _phases(planned: PlannedMixture) -> Iterator[PhaseShare]:
    for phase in planned.plan.phases:
        taken = phase.taken.tolist()
        for source, share, rows in zip(planned.plan.sources, phase.shares, taken, strict=True):
            tokens = round(rows * source.tokens_per_row)
            yield PhaseShare(phase.name, phase.first, source.name, float(share), rows, tokens)


def _use(link: MixedLink, planned: PlannedMixture, source: SourcePlan) -> SourceUse:
    return SourceUse(
        source=source.name,
        snapshots=tuple(packed.snapshot for packed in planned.pool.sets_of(source.name)),
        available=source.available,
        held_out=source.stream.held_out,
        used_before=source.begin,
        rows=source.taken,
        tokens=round(source.taken * source.tokens_per_row),
        repetitions=float(source.stream.repetitions(source.end)),
        max_repetitions=float(link.parameters.repetitions_of(source.name)),
        left=source.allowed - source.taken,
    )


def _bytes(planned: PlannedMixture, held_out: int) -> int:
    """Of the rows as packed, and of the records of where they come from."""
    total = float((planned.plan.total_rows + held_out) * PROVENANCE_BYTES)
    for source in planned.plan.sources:
        sets = planned.pool.sets_of(source.name)
        rows = sum(packed.shards.rows for packed in sets)
        size = sum(shard.bytes for packed in sets for shard in packed.shards.shards())
        total += (source.taken + source.stream.held_out) * size / max(rows, 1)
    return round(total)


def _spilled(planned: PlannedMixture) -> int:
    """Beside the version, when most is on disk: what was spilled goes as the version grows, a bucket at a time."""
    shuffle = Shuffle(planned.plan, planned.pool, Path())
    return shuffle.bucket_bytes if shuffle.buckets > 1 else 0


def tables(planned: Planned) -> Iterator[Table | str]:
    """The plan for a person."""
    yield _phase_table(planned)
    yield _source_table(planned)
    yield (
        f"{planned.rows:,} rows, {planned.tokens:,} tokens, {planned.held_out_rows:,} rows held out; "
        f"{_size(planned.disk_bytes)} on disk, {_size(planned.work_bytes)} while it is made"
    )
    if planned.continues:
        yield f"continues {planned.continues}, with its seed {planned.seed}"
    if planned.limited_by:
        yield f"as long as can be: limited by {', '.join(planned.limited_by)}"
    else:
        least = min((use for use in planned.sources if use.rows), key=lambda use: use.left / use.rows)
        yield f"as long as asked for; {least.source} would run out first, {least.left:,} rows of it are left"


def _phase_table(planned: Planned) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("phase", "source"):
        table.add_column(name, no_wrap=True)
    for name in ("from row", "share", "rows", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for phase in planned.phases:
        if not phase.share:
            continue
        numbers = f"{phase.first_row:,}", f"{phase.share:.4f}", f"{phase.rows:,}", f"{phase.tokens:,}"
        table.add_row(phase.phase, phase.source, *numbers)
    return table


def _source_table(planned: Planned) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("source", no_wrap=True)
    for name in ("available", "held out", "used before", "rows", "tokens", "repetitions", "of at most", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("snapshots")
    for use in planned.sources:
        counts = (use.available, use.held_out, use.used_before, use.rows, use.tokens)
        times = f"{use.repetitions:.2f}", f"{use.max_repetitions:g}", f"{use.left:,}"
        table.add_row(use.source, *(f"{count:,}" for count in counts), *times, ", ".join(use.snapshots))
    return table


def _size(count: float) -> str:
    """`1.5 GB`: in powers of 1,000."""
    unit = 0
    while count >= 1_000 and unit < len(_UNITS) - 1:
        count, unit = count / 1_000, unit + 1
    return f"{count:.3g} {_UNITS[unit]}" if unit else f"{count:g} B"
