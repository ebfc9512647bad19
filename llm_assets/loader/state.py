"""The saved state of a loader: one position in the stream of rows, and the identity of that stream.

Guarantees that a state resumes at exactly the next row, or is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llm_assets.errors import LlmAssetsError

STATE_VERSION = 2


class LoaderStateError(LlmAssetsError, ValueError):
    """A saved state that this loader cannot continue from."""


class DigestMismatchError(LoaderStateError):
    """A saved state of a loader that reads another set."""


@dataclass(frozen=True)
class StreamIdentity:
    """Everything that decides which row is at a position: the set, the row length, and the order of epochs.

    Raises ValueError for a seed or block that is not an `int`, since JSON could not keep it.
    """

    digest: str
    set_rows: int
    sequence_length: int
    seed: int | None
    block: int

    def __post_init__(self) -> None:
        if type(self.seed) not in (int, type(None)) or type(self.block) is not int:
            raise ValueError(f"seed {self.seed!r} and block {self.block!r}: give both as int, or no seed (None)")


def to_dict(stream: StreamIdentity, position: int, transforms: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The state after `position` rows, all ranks together: JSON-like, the same on every rank."""
    state = {"version": STATE_VERSION, "position": position, **asdict(stream)}
    return state | ({"transforms": list(transforms)} if transforms else {})


def check_transforms(transforms: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> None:
    """Raises LoaderStateError for a state saved with other transforms, versions or parameters than these."""
    now, saved = list(transforms), state.get("transforms", [])
    if saved != now:
        raise LoaderStateError(
            f"the state was saved with the transforms {saved}, and this loader has {now}: the batches would be others. "
            'To go on with others on purpose, set state["transforms"] to what this loader has'
        )


def position_in(stream: StreamIdentity, packed_length: int, state: Mapping[str, Any]) -> int:
    """The position of a saved state in a stream, in rows of that stream.

    The sequence length may differ from the saved one. Raises DigestMismatchError for a state of another set, and
    LoaderStateError for anything else from which resuming would repeat or skip rows, or which is no state at all.
    """
    if not state or "version" not in state:
        raise LoaderStateError(
            f"{_shortened(state)} is not a saved state: pass what `state_dict()` of a loader returned"
        )
    version = state["version"]
    if version != STATE_VERSION:
        raise LoaderStateError(
            f"the state has format {version}, and this version reads format {STATE_VERSION}: resume with the version "
            "that saved it"
        )
    if state.get("digest") != stream.digest:
        raise DigestMismatchError(
            f"the state was saved for the set with digest {state.get('digest')}, and this set has {stream.digest}: "
            "resume with the set that the run began with"
        )
    position, length = state.get("position"), state.get("sequence_length")
    if type(length) is not int or length < 1 or packed_length % length:
        raise LoaderStateError(
            f"the state has sequence_length {length!r}, which does not divide the set's rows of {packed_length} "
            "tokens: it was changed since it was saved"
        )
    if type(position) is not int or position < 0:
        raise LoaderStateError(
            f"the state has position {position!r}, not a number of rows: it was changed since it was saved"
        )
    saved_order, order = (state.get("seed"), state.get("block")), (stream.seed, stream.block)
    first_epoch = position <= stream.set_rows * (packed_length // length)
    if not first_epoch and saved_order != order and not (saved_order[0] is None and order[0] is None):
        raise LoaderStateError(
            f"the state was saved after the first epoch with (seed, block) {saved_order}; with {order} the "
            "rows of later epochs come in another order, so some would repeat and others be skipped: pass the same "
            "seed and block"
        )
    tokens = position * length
    if tokens % stream.sequence_length:
        raise LoaderStateError(
            f"the state ends after {position} rows of {length} tokens, inside a row of {stream.sequence_length}: "
            f"resume with sequence_length {length}"
        )
    return tokens // stream.sequence_length


def _shortened(value: object) -> str:
    """Describe a value by its keys or its type, since a checkpoint may hold a whole model."""
    return f"a dict of {[*value]}" if isinstance(value, dict) else f"a {type(value).__name__}"
