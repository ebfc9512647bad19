"""The saved state of a loader: one position in the stream of rows, and what makes it mean the same rows again.

Guarantees that a state continues with just the rows that come next, or is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

STATE_VERSION = 2


class LoaderStateError(ValueError):
    """A saved state that this loader cannot continue from."""


class DigestMismatchError(LoaderStateError):
    """A saved state of a loader of other rows."""


@dataclass(frozen=True)
class StreamIdentity:
    """What the stream of rows is: which set, how its rows are divided, and in which order epochs take them.

    Raises ValueError for a seed or block that is no `int`, which a state in JSON could not keep.
    """

    digest: str
    set_rows: int
    sequence_length: int
    seed: int | None
    block: int

    def __post_init__(self) -> None:
        if type(self.seed) not in (int, type(None)) or type(self.block) is not int:
            raise ValueError(f"seed {self.seed!r} and block {self.block!r}: whole numbers, or no seed (None)")


def to_dict(stream: StreamIdentity, position: int) -> dict[str, Any]:
    """The state after `position` rows, all ranks together: JSON-like, the same on every rank."""
    return {"version": STATE_VERSION, "position": position, **asdict(stream)}


def position_in(stream: StreamIdentity, packed_length: int, state: Mapping[str, Any]) -> int:
    """The position that a saved state has in a stream, counted in its rows.

    The sequence length may be another one. Raises DigestMismatchError for a state of other rows, LoaderStateError for
    what is no state of a loader, or one that would go on with rows that were seen or leave some out.
    """
    if not state or "version" not in state:
        raise LoaderStateError(f"no state of a loader, which `state_dict()` gives: {_shortened(state)}")
    version = state["version"]
    if version != STATE_VERSION:
        raise LoaderStateError(f"a state of version {version}; this loader reads {STATE_VERSION}")
    if state.get("digest") != stream.digest:
        raise DigestMismatchError(
            f"a state of the set {state.get('digest')}; this is {stream.digest}: a run goes on with the set that it "
            "began with"
        )
    position, length = state.get("position"), state.get("sequence_length")
    if type(length) is not int or length < 1 or packed_length % length:
        raise LoaderStateError(f"sequence length {length!r} does not divide the rows of {packed_length}")
    if type(position) is not int or position < 0:
        raise LoaderStateError(f"position {position!r} is not a number of rows")
    saved_order, order = (state.get("seed"), state.get("block")), (stream.seed, stream.block)
    first_epoch = position <= stream.set_rows * (packed_length // length)
    if not first_epoch and saved_order != order and not (saved_order[0] is None and order[0] is None):
        raise LoaderStateError(
            f"a state of (seed, block) {saved_order}, saved after the first epoch; with {order} later epochs have "
            "another order, so that rows would be repeated and others left out"
        )
    tokens = position * length
    if tokens % stream.sequence_length:
        raise LoaderStateError(
            f"a state of {position} rows of {length} tokens ends within a row of {stream.sequence_length}"
        )
    return tokens // stream.sequence_length


def _shortened(value: object) -> str:
    """A dict by its keys, anything else by its type: a checkpoint may hold a whole model."""
    return f"a dict of {[*value]}" if isinstance(value, dict) else f"a {type(value).__name__}"
