"""The link from `<mixture>/mixed` to `<mixture>/smoke_train`: does a small model learn from these rows?

Guarantees that the rows the model is tried on are none it was trained on. The result is a report; the mixture is what
it was, whatever is in it. Needs the extra `train`, when a report is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from llm_assets.chain.link import Check, Description, Link, MissingInputError, Outcome, Work
from llm_assets.chain.mixed import MixedLink
from llm_assets.chain.shard_partition import PROVENANCE, open_shards
from llm_assets.stages.stage import Parameters, code_version
from llm_assets.stages.token_bytes import UnknownBytesError, token_bytes
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Input, Manifest
from llm_assets.store.reports import StagedReport, StoredReport, report_digest
from llm_assets.store.shards import ShardSet

if TYPE_CHECKING:
    from llm_assets.chain.tiny_model import RowsUsed, Training, Trial

VERSION = "1"
LENGTH = 128
"""Tokens of the rows of the model, where nothing else is said, or the next smaller number that divides the rows."""

LOSS_FALLS = "loss_falls"
_HELD_OUT_AT_MOST = 5
"""At least four rows in five are left to train on."""


class SmokeTrainError(RuntimeError):
    """A mixture that no model can be trained on as declared: says why."""


class SmokeTrainParameters(Parameters):
    """A small transformer, trained on the first rows of a mixture and tried on its last ones.

    `on_failure` says what happens where the loss does not fall by at least `min_fall` nats: `warn`, or `block`, so that
    the report is refused and the run fails. The mixture stays committed either way.
    """

    steps: int = Field(default=200, ge=2)
    batch_size: int = Field(default=4, ge=1)
    sequence_length: int | None = Field(default=None, ge=2)
    held_out_rows: int = Field(default=64, ge=0)
    width: int = Field(default=128, ge=1)
    heads: int = Field(default=4, ge=1)
    layers: int = Field(default=2, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    seed: int = 0
    threads: int = Field(default=2, ge=1)
    min_fall: float = Field(default=0.1, ge=0)
    on_failure: Literal["warn", "block"] = "warn"

    @model_validator(mode="after")
    def _heads_divide(self) -> SmokeTrainParameters:
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} cannot be divided among {self.heads} heads")
        return self


@dataclass(frozen=True)
class SmokeTrainLink(Link[StagedReport]):
    """Makes the reports on the versions of one mixture."""

    mixed: MixedLink
    parameters: SmokeTrainParameters

    @property
    def asset(self) -> str:
        """See `Link`."""
        return f"{self.mixed.name}/smoke_train"

    @property
    def code_version(self) -> str:
        """See `Link`. What the checks ask for changes no report."""
        return code_version(VERSION, self.parameters.model_copy(update={"on_failure": "warn", "min_fall": 0.0}))

    @property
    def checks(self) -> Sequence[Check]:
        """See `Link`."""
        return (
            Check(
                LOSS_FALLS,
                "The mean loss falls from the first to the last tenth of the steps, and every loss is a number.",
                blocking=self.parameters.on_failure == "block",
            ),
        )

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The version of the mixture."""
        manifest = self.mixed.committed(store, partition)
        if manifest is None:
            raise MissingInputError(f"{self.mixed.asset}[{partition}] is not there: materialize it first")
        return {manifest.name: manifest.as_input}

    def committed(self, store: Store, partition: str) -> Manifest | None:
        """See `Link`."""
        stored = StoredReport.open(store.report(self.asset, partition))
        return stored.manifest if stored else None

    def make(self, work: Work) -> StagedReport:
        """Train and try a model. Raises SmokeTrainError, MissingInputError, and ModuleNotFoundError without torch."""
        tiny_model = _tiny_model()
        inputs = self.inputs(work.store, work.partition)
        shards = open_shards(work.store.version(self.mixed.name, work.partition))
        if shards is None:
            raise MissingInputError(f"{self.mixed.asset}[{work.partition}] is not there any more")
        asked = self.parameters
        rows = rows_used(shards, asked)
        settings = tiny_model.ModelSettings(
            asked.width, asked.heads, asked.layers, asked.learning_rate, asked.seed, asked.threads
        )
        sizes = self._token_bytes(work.store, shards)
        known = np.zeros(shards.index.vocabulary_size, np.int64) if sizes is None else sizes
        model, training = tiny_model.train(shards, rows, asked.steps, settings)
        trial = tiny_model.try_out(model, shards, rows, known, settings)
        trained = _trained_rows(shards, rows, asked.steps)
        held_out, repeated = _by_source(shards, rows, trained, trial, bytes_known=sizes is not None)
        results = {
            "losses": [loss if math.isfinite(loss) else None for loss in training.losses.tolist()],
            "held_out": held_out,
            "held_out_repeated_rows": repeated,
        }
        digest = report_digest(results)
        manifest = Manifest(
            self.asset,
            work.partition,
            digest[:12],
            self.code_version,
            inputs,
            digest,
            _ledger(shards, trained, rows),
            {"parameters": asked.model_dump(mode="json"), "sequence_length": rows.length},
        )
        folder = work.store.report(self.asset, work.partition)
        return StagedReport(folder, results, _measured(training), manifest)

    def _token_bytes(self, store: Store, shards: ShardSet) -> npt.NDArray[np.int64] | None:
        """Bytes of the tokens of the mixture's tokenizer; None where they cannot be known."""
        stored, _ = self.mixed.sources[0].tokenized.tokenizer.open(store)
        if stored.fingerprint != shards.index.tokenizer:
            raise SmokeTrainError(
                f"{self.mixed.asset} has ids of another tokenizer than {stored.manifest.asset} is now"
            )
        try:
            return token_bytes(stored.json_text, shards.index.vocabulary_size)
        except UnknownBytesError:
            return None

    def check(self, staged: StagedReport, store: Store) -> Iterator[Outcome]:
        """See `Link`."""
        yield loss_falls(staged.results["losses"], self.parameters.min_fall)

    def describe(self, staged: StagedReport) -> Description:
        """See `Link`."""
        losses = np.array(staged.results["losses"], np.float64)
        held_out: dict[str, dict[str, float | None]] = staged.results["held_out"]
        values: dict[str, float | int | str] = {
            "held_out_is": "the last rows of the mixture",
            "held_out_repeated_rows": staged.results["held_out_repeated_rows"],
            **staged.measured,
        }
        for source, found in held_out.items():
            values |= {f"held_out_{name}_{source}": value for name, value in found.items() if value is not None}
        return Description(
            rows=len(losses),
            bytes=len(staged.data),
            columns=pa.schema([("step", pa.int64()), ("loss", pa.float64())]),
            values=values,
            curves={"Loss by step, nats": losses},
        )


def rows_used(shards: ShardSet, asked: SmokeTrainParameters) -> RowsUsed:
    """Which rows a model is trained and tried on. Raises SmokeTrainError where there are none."""
    length = asked.sequence_length or max(d for d in range(1, LENGTH + 1) if shards.sequence_length % d == 0)
    if length < 2 or shards.sequence_length % length:
        raise SmokeTrainError(
            f"{length} tokens in a row of the model, but the mixture has rows of {shards.sequence_length}: "
            "set sequence_length to a number over 1 that divides that"
        )
    division = shards.sequence_length // length
    held_out = min(asked.held_out_rows, shards.rows // _HELD_OUT_AT_MOST)
    # Batches end with rows of the mixture there, so that of no row a part is trained on and another held out
    whole = math.lcm(asked.batch_size, division)
    trained = (shards.rows - held_out) * division // whole * whole
    if trained == 0:
        raise SmokeTrainError(
            f"the mixture has {shards.rows} rows of {shards.sequence_length} tokens, too few to train on in batches of "
            f"{asked.batch_size} rows of {length}"
        )
    return _tiny_model().RowsUsed(length, asked.batch_size, trained)


def loss_falls(losses: Sequence[float | None], min_fall: float) -> Outcome:
    """Compare the mean loss of the first and the last tenth of the steps; None is a loss that is no number."""
    lost = sum(loss is None for loss in losses)
    if lost:
        first_lost = losses.index(None) + 1
        return Outcome(
            LOSS_FALLS, False, f"{lost} of {len(losses)} losses are no number, first that of step {first_lost}"
        )
    values = np.array(losses, np.float64)
    tenth = max(1, len(values) // 10)
    first, last = float(values[:tenth].mean()), float(values[-tenth:].mean())
    fell = first - last
    message = f"the loss went from {first:.3f} to {last:.3f} nats (means of {tenth} steps) in {len(values)} steps; "
    message += f"it has to fall by {min_fall:g}" if min_fall else "it has to fall"
    passed = fell > 0 and fell >= min_fall
    return Outcome(LOSS_FALLS, passed, message, {"first": first, "last": last, "fell": fell})


def _trained_rows(shards: ShardSet, rows: RowsUsed, steps: int) -> int:
    """Rows of the mixture that are trained on: so many of the first ones."""
    return -(-min(steps * rows.batch, rows.held_out) // (shards.sequence_length // rows.length))


def _by_source(
    shards: ShardSet, rows: RowsUsed, trained: int, trial: Trial, *, bytes_known: bool
) -> tuple[dict[str, dict[str, Any]], int]:
    """Rows, targets and mean losses of the held-out rows of each source; None for a mean that cannot be known.

    Rows of the mixture that repeat one of the `trained` first ones are left out; their number is returned too.
    """
    division = shards.sequence_length // rows.length
    numbers = np.arange(trial.first, trial.first + len(trial.nats)) // division
    if not len(numbers):
        return {}, 0
    first = int(numbers[0])
    seen = set(_origins(shards, 0, trained))
    fresh = [None if one in seen else one.source for one in _origins(shards, first, int(numbers[-1]) + 1)]
    sources = np.array(fresh, object)[numbers - first]
    found: dict[str, dict[str, Any]] = {}
    for source in sorted({source for source in sources.tolist() if source is not None}):
        mine = sources == source
        bits = float(trial.nats[mine].sum()) / math.log(2)
        targets, size = int(trial.targets[mine].sum()), int(trial.bytes[mine].sum())
        found[source] = {
            "rows": len(np.unique(numbers[mine])),
            "tokens": targets,
            "bits_per_token": _mean(bits, targets),
            "bits_per_byte": _mean(bits, size) if bytes_known else None,
        }
    return found, fresh.count(None)


def _mean(total: float, count: int) -> float | None:
    return total / count if count and math.isfinite(total) else None


class _Origin(NamedTuple):
    """The packed row that a row of a mixture is a copy of."""

    source: str
    snapshot: str
    packed_row: int


def _origins(shards: ShardSet, first: int, last: int) -> list[_Origin]:
    """Where rows `first` to `last` (exclusive) come from, reading no others than lie with them."""
    with shards.folder.open(f"{shards.index.generation}/{PROVENANCE}") as file:
        provenance = pq.ParquetFile(pa.PythonFile(file, mode="r"))
        parts: list[_Origin] = []
        start = 0
        for group in range(provenance.num_row_groups):
            rows = provenance.metadata.row_group(group).num_rows
            if start < last and start + rows > first:
                table = provenance.read_row_group(group, columns=list(_Origin._fields))
                columns = [table[name].to_pylist()[max(0, first - start) : last - start] for name in _Origin._fields]
                parts += map(_Origin, *columns)
            start += rows
    return parts


def _ledger(shards: ShardSet, trained: int, rows: RowsUsed) -> Ledger:
    """In rows of the mixture: those trained on were kept, those tried on held out; no others came in."""
    division = shards.sequence_length // rows.length
    kept, held_out = _count(shards, 0, trained), _count(shards, rows.held_out // division, shards.rows)
    return Ledger(incoming=kept + held_out, kept=kept, output=kept, dropped={"held_out": held_out})


def _count(shards: ShardSet, first: int, last: int) -> Count:
    rows = last - first
    tokens = int(shards.document_lengths(first, last).lengths.sum()) if rows else 0
    return Count(rows, rows * shards.sequence_length * shards.dtype.itemsize, tokens)


def _measured(training: Training) -> dict[str, float | int | str]:
    stats = training.loader
    return {
        "seconds": training.seconds,
        "tokens_per_second": stats.tokens / training.seconds,
        "loader": str(stats),
        "loader_waiting": stats.waiting,
        "loader_batches": stats.batches,
    }


def _tiny_model() -> Any:
    """The model and its training, imported when they are needed: torch takes a second, and is an extra."""
    try:
        from llm_assets.chain import tiny_model
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        why = "torch is not installed, and smoke_train needs it: pip install 'llm-assets[train]'"
        raise ModuleNotFoundError(why, name="torch") from error
    return tiny_model
