"""The blocklists of a source, ready to be looked for, and the labels that follow from their hits.

Guarantees that hits are a function of the text, the URL and the files' bytes. Where texts and URLs come from and what
becomes of a rejected document is the stage's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.stages.clean.blocklist.automaton import Automaton
from llm_assets.stages.clean.blocklist.domains import Addresses, build_addresses, count_addresses
from llm_assets.stages.clean.blocklist.entries import ListFile
from llm_assets.stages.clean.blocklist.folding import folding
from llm_assets.stages.clean.blocklist.parameters import Blocklist, require_distinct
from llm_assets.stages.clean.blocklist.words import build_words, count_words
from llm_assets.stages.clean.columns import LABELS_TYPE
from llm_assets.stages.clean.edit.normalise import normalise
from llm_assets.stages.clean.edit.parameters import Form
from llm_assets.stages.clean.texts import text_buffers


@dataclass(frozen=True, eq=False)
class Blocklists:
    """The lists in order, the form their entries are in, and the tables of the entries, None where there are none."""

    blocklists: tuple[Blocklist, ...]
    form: Form
    words: Automaton | None
    addresses: Addresses | None

    @classmethod
    def of(cls, blocklists: Sequence[Blocklist], form: Form, files: Mapping[str, bytes]) -> Self:
        """The lists with their entries; `files` has the content of each file that they name.

        Raises BlocklistError for a line that cannot be an entry, ValueError as `require_distinct` does.
        """
        require_distinct(blocklists)
        words = [None if each.words is None else ListFile(each.words, files[each.words]) for each in blocklists]
        domains = [None if each.domains is None else ListFile(each.domains, files[each.domains]) for each in blocklists]
        return cls(
            blocklists=tuple(blocklists),
            form=form,
            words=build_words([each.words(form) if each else [] for each in words]) if any(words) else None,
            addresses=(
                build_addresses([each.addresses(form) if each else [] for each in domains]) if any(domains) else None
            ),
        )

    def hits(self, texts: pa.LargeStringArray, urls: pa.LargeStringArray | None) -> npt.NDArray[np.int64]:
        """How often each document has entries of each list: int64[documents, lists].

        `texts` are in the form already; `urls`, one a document, need not be, and may be null. Raises as `text_buffers`
        does, and ValueError where there are more or fewer URLs than texts.
        """
        hits = np.zeros((len(texts), len(self.blocklists)), np.int64)
        tables = folding()
        if self.words is not None:
            count_words(*text_buffers(texts), self.words, tables, hits)
        if self.addresses is None:
            return hits
        count_addresses(*text_buffers(texts), self.addresses, tables, False, hits)
        if urls is not None:
            if len(urls) != len(texts):
                raise ValueError(f"{len(urls)} URLs for {len(texts)} texts")
            known = normalise(urls.fill_null(""), self.form).texts
            count_addresses(*text_buffers(known), self.addresses, tables, True, hits)
        return hits


def labels(blocklists: Sequence[Blocklist], hits: npt.NDArray[np.int64]) -> pa.ListArray:
    """The names of the lists of which each document has too many hits, in order, as `LABELS_TYPE`.

    `hits` is int64[documents, lists].
    """
    too_many = _too_many(blocklists, hits)
    names = pa.array([each.name for each in blocklists], pa.large_string())
    offsets = np.concatenate([[0], np.cumsum(too_many.sum(axis=1))])
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), names.take(pa.array(np.nonzero(too_many)[1])), type=LABELS_TYPE
    )


def _too_many(blocklists: Sequence[Blocklist], hits: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    return hits > np.array([each.max_hits for each in blocklists], np.int64)
