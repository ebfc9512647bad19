"""The result of a chain for each document, and the agreement of two chains. Counted after the runs, never timed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ChainOutcome:
    """The digest of the token ids of every kept document, by its id; the first reason of every rejected one.

    What is in neither was a copy of a kept document.
    """

    kept: Mapping[str, str]
    rejected: Mapping[str, str]


def tokens_digest(ids: npt.NDArray[Any]) -> str:
    """Equal for equal token ids, whatever the dtype they are stored in."""
    return hashlib.blake2b(ids.astype(np.uint32).tobytes(), digest_size=8).hexdigest()


def compare(ours: ChainOutcome, theirs: ChainOutcome, documents: int) -> list[str]:
    """Sentences that say how many of the documents each side kept, on which they differ and why."""
    both = ours.kept.keys() & theirs.kept.keys()
    equal = sum(ours.kept[name] == theirs.kept[name] for name in both)
    return [
        f"of {documents:,} documents llm_assets kept {len(ours.kept):,}, the peer {len(theirs.kept):,}, "
        f"both {len(both):,}",
        f"{equal:,} of these {len(both):,} have the same token ids on both sides",
        *_differences("the peer rejected", ours, theirs),
        *_differences("llm_assets rejected", theirs, ours),
    ]


def _differences(who: str, keeper: ChainOutcome, other: ChainOutcome) -> list[str]:
    """Documents that one side kept and the other did not, by the other's reason; nothing where there are none."""
    names = keeper.kept.keys() - other.kept.keys()
    if not names:
        return []
    return [f"{who} {len(names):,} that the other kept: {_counted(other.rejected.get(name, 'copy') for name in names)}"]


def _counted(reasons: Iterable[str]) -> str:
    ranked = sorted(Counter(reasons).items(), key=lambda counted: (-counted[1], counted[0]))
    return ", ".join(f"{count:,} `{reason}`" for reason, count in ranked)
