"""The page of a deduplicated snapshot: examples of copies, each beside the document that it is a copy of.

Guarantees that of texts no more is read than the row groups of the examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.contract.samples import preview, spread
from llm_assets.contract.stage import Disposition
from llm_assets.store.documents import CommittedSnapshot, SnapshotFiles

_SHOWN = ["file", "record", "text"]


def duplicate_samples(
    verdicts: SnapshotFiles, own: str, cleaned: Callable[[str], CommittedSnapshot]
) -> list[Mapping[str, str]]:
    """Some of the dropped documents, with both texts. `own` is the snapshot; `cleaned` opens one that was judged."""
    places = _dropped(verdicts)
    places = places[spread(len(places))]
    rows = _taken(verdicts, Disposition.VERDICT, places, ["partner_doc_id", "partner_snapshot", "similarity"])
    documents = _taken(cleaned(own), Disposition.KEPT, places, _SHOWN)
    samples: list[Mapping[str, str]] = []
    for row, document in zip(rows, documents, strict=True):
        partner = _document(cleaned(row["partner_snapshot"]), row["partner_doc_id"])
        samples.append(
            {
                "document": _name(document),
                "partner": f"{row['partner_snapshot']}/{_name(partner)}",
                "similarity": f"{row['similarity']:.4g}",
                "text": preview(document["text"]),
                "partner_text": preview(partner["text"]),
            }
        )
    return samples


def _dropped(verdicts: SnapshotFiles) -> npt.NDArray[np.int64]:
    """Places of the documents that do not stay."""
    kept = [batch["kept"].to_numpy(zero_copy_only=False) for batch in verdicts.batches(Disposition.VERDICT, ["kept"])]
    return np.flatnonzero(~np.concatenate(kept)) if kept else np.empty(0, np.int64)


def _taken(
    files: SnapshotFiles, disposition: Disposition, places: npt.NDArray[np.int64], columns: list[str]
) -> list[dict[str, Any]]:
    return [row for batch in files.take(disposition, places, columns) for row in batch.to_pylist()]


def _document(snapshot: CommittedSnapshot, doc_id: bytes) -> dict[str, Any]:
    """The first document of that id. Raises LookupError."""
    first = 0
    for batch in snapshot.batches(Disposition.KEPT, ["doc_id"]):
        place = batch["doc_id"].index(pa.scalar(doc_id, batch["doc_id"].type)).as_py()
        if place >= 0:
            return _taken(snapshot, Disposition.KEPT, np.array([first + place]), _SHOWN)[0]
        first += batch.num_rows
    raise LookupError(f"{snapshot.manifest.name} has no document {doc_id.hex()}")


def _name(document: Mapping[str, Any]) -> str:
    return f"{document['file']}:{document['record']}"
