"""`llm-assets plan`: what a version of a mixture made now would be, from what is packed. Writes nothing, reads no row.

Rows are exact. Tokens are rows times the mean number of tokens in a row of their source, so they are exact where a
source is used up and expected values elsewhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.table import Table

from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.mix.plan import SourcePlan
from llm_assets.stages.mix.version.inputs import PlannedMixture
from llm_assets.stages.mix.version.shuffle import Shuffle
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store

SNAPSHOTS_NAMED = 4
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_LARGE = (("T", 10**12), ("G", 10**9), ("M", 10**6))
PROVENANCE_BYTES = 8
"""On disk, of the record of a row: numbers hardly compress, names do."""


@dataclass(frozen=True)
class PhaseShare:
    """The rows that one phase takes from one source; `repetitions` is how often it uses each row on average."""

    phase: str
    first_row: int
    source: str
    share: float
    rows: int
    tokens: int
    repetitions: float


@dataclass(frozen=True)
class SourceUse:
    """The rows that the mixture takes from one source in all phases.

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

    `disk_bytes` is its size, `work_bytes` the most that is on disk while it is made, itself included; `free_bytes` are
    free there now, None where that is no local disk. `limited_by` are the sources without which it could be longer,
    where it is as long as can be.
    """

    mixture: str
    continues: str | None
    seed: int
    rows: int
    tokens: int
    held_out_rows: int
    disk_bytes: int
    work_bytes: int
    free_bytes: int | None
    limited_by: tuple[str, ...]
    phases: tuple[PhaseShare, ...]
    sources: tuple[SourceUse, ...]

    def as_dict(self) -> dict[str, Any]:
        """A JSON form."""
        return asdict(self)


def plan(link: MixedLink, store: Store) -> Planned:
    """Plan a version of the mixture from its current inputs.

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
        free_bytes=_free(store.version(link.name, "v1")),
        limited_by=planned.plan.limited_by,
        phases=phases,
        sources=uses,
    )


def _phases(planned: PlannedMixture) -> Iterator[PhaseShare]:
    for phase in planned.plan.phases:
        taken = phase.taken.tolist()
        for source, share, rows in zip(planned.plan.sources, phase.shares, taken, strict=True):
            tokens = round(rows * source.tokens_per_row)
            repetitions = rows / source.available if rows else 0.0
            yield PhaseShare(phase.name, phase.first, source.name, float(share), rows, tokens, repetitions)


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
    """Size in bytes of the rows as packed, with their provenance."""
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


def _free(folder: Folder) -> int | None:
    """Bytes free where a folder is or would be."""
    if not folder.is_local:
        return None
    path = folder.local_path()
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


def tables(planned: Planned) -> Iterator[Table | str]:
    """The plan for a person: at most 80 columns wide, unless names are long."""
    yield _phase_table(planned)
    yield ""
    yield _source_table(planned)
    yield ""
    yield from (_snapshots(use) for use in planned.sources)
    held_out = f"; {planned.held_out_rows:,} rows more are held out" if planned.held_out_rows else ""
    yield f"{planned.rows:,} rows, {planned.tokens:,} tokens{held_out}"
    if planned.continues:
        yield f"continues {planned.continues}, with its seed {planned.seed}"
    yield from _limits(planned)
    yield from _nothing_of(planned)
    yield f"{_size(planned.disk_bytes)} on disk, {_size(planned.work_bytes)} while it is made{_room(planned)}"


def _limits(planned: Planned) -> Iterator[str]:
    if planned.limited_by:
        yield f"as long as can be: limited by {', '.join(planned.limited_by)}"
        return
    least = min((use for use in planned.sources if use.rows), key=lambda use: use.left / use.rows)
    yield f"as long as asked for; {least.source} would run out first, {least.left:,} rows of it are left"


def _nothing_of(planned: Planned) -> Iterator[str]:
    """Warnings about shares that are too small for a single row."""
    for share in planned.phases:
        if share.share and not share.rows:
            yield f"{share.source} has a share of {share.phase}, but it comes to no row"


def _room(planned: Planned) -> str:
    if planned.free_bytes is None:
        return ""
    free = f"; {_size(planned.free_bytes)} are free"
    return free if planned.free_bytes >= planned.work_bytes else f"{free}: too little, make room before it is made"


def _phase_table(planned: Planned) -> Table:
    """A line for each phase, and below it one for each source that has a share of it."""
    table = _table(("phase", "source"), ("from row", "share", "rows", "tokens", "repetitions"))
    for (name, first), shares in groupby(planned.phases, key=lambda share: (share.phase, share.first_row)):
        taken = [share for share in shares if share.share]
        rows, tokens = sum(share.rows for share in taken), sum(share.tokens for share in taken)
        table.add_row(name, "", f"{first:,}", "", f"{rows:,}", _count(tokens), "", style="bold")
        for share in taken:
            numbers = f"{share.share:.4%}", f"{share.rows:,}", _count(share.tokens), _times(share.repetitions)
            table.add_row("", share.source, "", *numbers)
    return table


def _source_table(planned: Planned) -> Table:
    """A line for each source; columns in which there would be nothing but 0 are left out."""
    columns: dict[str, Callable[[SourceUse], int]] = {
        "available": lambda use: use.available,
        "held out": lambda use: use.held_out,
        "used before": lambda use: use.used_before,
        "rows": lambda use: use.rows,
        "tokens": lambda use: use.tokens,
        "left": lambda use: use.left,
    }
    optional = {"held out", "used before"}
    columns = {n: of for n, of in columns.items() if n not in optional or any(of(use) for use in planned.sources)}
    table = _table(("source",), (*columns, "used in all", "at most"))
    for use in planned.sources:
        times = _times(use.repetitions), f"{use.max_repetitions:g}"
        table.add_row(use.source, *(_count(of(use)) for of in columns.values()), *times)
    return table


def _table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    """Long names and headings go on in the next line; numbers are never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold", min_width=6)
    for number in numbers:
        cells = number.replace(" ", "\n", 1)
        table.add_column(cells, justify="right", no_wrap=True)
    return table


def _snapshots(use: SourceUse) -> str:
    named = ", ".join(use.snapshots)
    if len(use.snapshots) > SNAPSHOTS_NAMED:
        named = f"{len(use.snapshots)} snapshots, {use.snapshots[0]} to {use.snapshots[-1]}"
    return f"{use.source}: {named or 'no snapshot'}"


def _times(repetitions: float) -> str:
    """`0.00` is not used at all."""
    return "<0.01" if 0 < repetitions < 0.01 else f"{repetitions:.2f}"


def _count(number: int) -> str:
    """Exact up to seven digits, then four of them: `12.35 G`. All digits are in `--json`."""
    if number < 10_000_000:
        return f"{number:,}"
    unit, size = next((unit, size) for unit, size in _LARGE if number >= size)
    return f"{number / size:.4g} {unit}"


def _size(count: float) -> str:
    """`1.5 GB`: in powers of 1,000."""
    unit = 0
    while count >= 1_000 and unit < len(_UNITS) - 1:
        count, unit = count / 1_000, unit + 1
    return f"{count:.3g} {_UNITS[unit]}" if unit else f"{count:g} B"
