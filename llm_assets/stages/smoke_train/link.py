"""The link from `<mixture>/mixed` to `<mixture>/smoke_train`: a report on a small model trained on the rows.

Guarantees that the model is evaluated on rows of the version's validation set, none of which it was trained on. The
report never changes the mixture. Making one needs the extra `train`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator
from typing_extensions import override

from llm_assets.contract.link import Check, Description, Link, MissingInputError, Outcome, Work
from llm_assets.contract.stage import Parameters, code_version
from llm_assets.errors import LlmAssetsError
from llm_assets.kernels.arrow import column
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.mix.version.validation_set import committed_validation_set, validation_set_input
from llm_assets.stages.smoke_train import VERSION
from llm_assets.stages.smoke_train.trial import Chosen, by_source
from llm_assets.stages.tokenize.token_bytes import UnknownBytesError, token_bytes
from llm_assets.store.layout import Store
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Input, Manifest, partition_name
from llm_assets.store.reports import StagedReport, StoredReport, report_digest
from llm_assets.store.shards.shard_set import ShardSet

if TYPE_CHECKING:
    from llm_assets.stages.smoke_train.tiny_model import Batches, ModelSettings, TinyModel, Training

LENGTH = 128
"""Default row length of the model in tokens: this, or the next smaller divisor of the mixture's row length."""

LOSS_FALLS = "loss_falls"


class SmokeTrainError(LlmAssetsError, RuntimeError):
    """The model cannot be trained as declared. The message says why."""


class SmokeTrainParameters(Parameters):
    """A small transformer, trained on the first rows of a mixture and evaluated on its validation set.

    `held_out_rows` is the number of rows for evaluation: the same of each source, or all that it has, but at least one.
    `on_failure` applies where the loss does not fall by at least `min_fall` nats: `warn`, or `block`, which refuses the
    report and fails the run. The mixture stays committed either way.
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
    threads: int = Field(default=1, ge=1)
    min_fall: float = Field(default=0.1, ge=0)
    on_failure: Literal["warn", "block"] = "warn"

    @model_validator(mode="after")
    def _heads_divide(self) -> SmokeTrainParameters:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads: change one of them")
        return self


@dataclass(frozen=True)
class SmokeTrainLink(Link[StagedReport]):
    """Makes the reports on the versions of one mixture."""

    mixed: MixedLink
    parameters: SmokeTrainParameters

    kinds = frozenset({"pytorch"})
    stage_name = "smoke_train"
    summary = "Whether a small model learns from a version of the mixture; it keeps no version back."

    @property
    @override
    def upstream(self) -> Sequence[Link[Any]]:
        return (self.mixed,)

    @override
    def uri(self, store: Store, partition: str) -> str:
        return store.report(self.asset, partition).uri

    @override
    def open(self, store: Store, partition: str) -> StoredReport | None:
        return StoredReport.open(store.report(self.asset, partition))

    @property
    @override
    def asset(self) -> str:
        return f"{self.mixed.name}/{self.stage_name}"

    @property
    @override
    def code_version(self) -> str:
        """Does not depend on the parameters of the checks, which do not change the report."""
        return code_version(VERSION, self.parameters.model_copy(update={"on_failure": "warn", "min_fall": 0.0}))

    @property
    @override
    def checks(self) -> Sequence[Check]:
        return (
            Check(
                LOSS_FALLS,
                "The mean loss falls from the first to the last tenth of the steps, and every loss is a number.",
                blocking=self.parameters.on_failure == "block",
            ),
        )

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The version of the mixture, and its validation set where it has one."""
        version = self.mixed.committed(store, partition)
        if version is None:
            raise MissingInputError.of(partition_name(self.mixed.asset, partition))
        return _inputs(version)

    @override
    def committed(self, store: Store, partition: str) -> Manifest | None:
        stored = self.open(store, partition)
        return stored.manifest if stored else None

    def make(self, work: Work) -> StagedReport:
        """Train and evaluate a model.

        Raises SmokeTrainError, MissingInputError, ShardSetError, NoTargetsError, and ModuleNotFoundError without torch.
        """
        tiny_model = _tiny_model()
        shards = self.mixed.open(work.store, work.partition)
        if shards is None:
            raise MissingInputError.of(partition_name(self.mixed.asset, work.partition))
        asked = self.parameters
        batches = tiny_model.Batches(asked.batch_size, row_length(shards, asked.sequence_length))
        settings = tiny_model.ModelSettings(
            asked.width, asked.heads, asked.layers, asked.learning_rate, asked.seed, asked.threads
        )
        held_out = Chosen.of(committed_validation_set(shards), asked.held_out_rows)
        sizes = self._token_bytes(work.store, shards) if held_out.by_source else None
        model, training = tiny_model.train(shards, batches, asked.steps, settings)
        results = {
            "losses": [loss if math.isfinite(loss) else None for loss in training.losses.tolist()],
            "held_out": _try_out(model, held_out, batches, sizes, settings),
        }
        digest = report_digest(results)
        manifest = Manifest(
            self.asset,
            work.partition,
            digest[:12],
            self.code_version,
            _inputs(Manifest.from_dict(shards.index.manifest)),
            digest,
            _ledger(shards, training.rows * batches.length, held_out),
            {
                "parameters": asked.model_dump(mode="json"),
                "sequence_length": batches.length,
                "held_out_is": held_out.description,
            },
        )
        folder = work.store.report(self.asset, work.partition)
        return StagedReport(folder, results, _measured(training), manifest)

    def _token_bytes(self, store: Store, shards: ShardSet) -> npt.NDArray[np.int64] | None:
        """Bytes of each token of the mixture's tokenizer, int64 [vocabulary]; None where they are unknown."""
        stored = self.mixed.tokenizer.stored(store)
        if stored.fingerprint != shards.index.tokenizer:
            raise SmokeTrainError(
                f"{self.mixed.asset} has ids of another tokenizer than {stored.manifest.asset} now: make a new version"
            )
        try:
            return token_bytes(stored.json_text, shards.index.vocabulary_size)
        except UnknownBytesError:
            return None

    @override
    def check(self, staged: StagedReport, store: Store) -> Iterator[Outcome]:
        yield loss_falls(staged.results["losses"], self.parameters.min_fall)

    @override
    def describe(self, staged: StagedReport, store: Store) -> Description:
        losses = np.array(staged.results["losses"], np.float64)
        held_out: dict[str, dict[str, float | None]] = staged.results["held_out"]
        values: dict[str, float | int | str | None] = {
            "held_out_is": staged.manifest.details["held_out_is"],
            **staged.measured,
        }
        for source, found in held_out.items():
            values |= {f"held_out_{name}_{source}": value for name, value in found.items()}
        return Description(
            rows=len(losses),
            bytes=len(staged.data),
            columns=pa.schema(
                [
                    column("step", pa.int64(), "step of training, from 1"),
                    column("loss", pa.float64(), "loss, nats per token"),
                ]
            ),
            values=values,
            curves={"Loss by step, nats": losses},
        )


def row_length(shards: ShardSet, asked: int | None) -> int:
    """Row length of the model in tokens. Raises SmokeTrainError where it does not divide the mixture's row length."""
    length = asked or max(d for d in range(1, LENGTH + 1) if shards.sequence_length % d == 0)
    if length < 2 or shards.sequence_length % length:
        raise SmokeTrainError(
            f"{length} tokens in a row of the model, but the mixture has rows of {shards.sequence_length}: "
            "set sequence_length to a number over 1 that divides that"
        )
    return length


def loss_falls(losses: Sequence[float | None], min_fall: float) -> Outcome:
    """Compare the mean losses of the first and the last tenth of the steps; None is a loss that is not finite."""
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


def _inputs(version: Manifest) -> dict[str, Input]:
    return {version.name: version.as_input, **validation_set_input(version)}


def _try_out(
    model: TinyModel,
    held_out: Chosen,
    batches: Batches,
    sizes: npt.NDArray[np.int64] | None,
    settings: ModelSettings,
) -> dict[str, dict[str, Any]]:
    """Evaluate the model on the validation set, by source. `sizes`: bytes of each token, None if unknown."""
    if held_out.shards is None:
        return {}
    known = np.zeros(held_out.shards.index.vocabulary_size, np.int64) if sizes is None else sizes
    trial = _tiny_model().try_out(model, held_out.shards, held_out.rows, batches, known, settings)
    return by_source(held_out, trial, bytes_known=sizes is not None)


def _ledger(shards: ShardSet, trained_tokens: int, held_out: Chosen) -> Ledger:
    """The ledger in rows: those trained on are kept, those of the evaluation are `held_out`; no others came in.

    `trained_tokens` counts padding, and repeated tokens each time.
    """
    rows = min(shards.rows, -(-trained_tokens // shards.sequence_length))
    kept = _count(shards, rows, int(shards.document_lengths(0, rows).lengths.sum()))
    tried = Count() if held_out.shards is None else _count(held_out.shards, len(held_out.rows), held_out.tokens)
    return Ledger(incoming=kept + tried, kept=kept, output=kept, dropped={"held_out": tried})


def _count(shards: ShardSet, rows: int, tokens: int) -> Count:
    return Count(rows=rows, bytes=rows * shards.sequence_length * shards.dtype.itemsize, tokens=tokens)


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
    """Import the model and its training late: torch is an extra and takes a second to import."""
    try:
        from llm_assets.stages.smoke_train import tiny_model
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        why = "torch is not installed, and smoke_train needs it: pip install 'llm-assets[train]'"
        raise ModuleNotFoundError(why, name="torch") from error
    return tiny_model
