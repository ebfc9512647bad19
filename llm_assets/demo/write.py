"""How demo documents land: `<landing>/<source>/<snapshot>/*`, in every format that a source may use.

Guarantees equal bytes for equal documents, that `_SUCCESS` comes last, and that nothing is changed or deleted but the
`demo-*` files of a snapshot that is not complete yet. Which documents there are is decided elsewhere.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from llm_assets.demo.harvest import HarvestedDocument
from llm_assets.demo.installation import Installation, running_installation, stable_number
from llm_assets.demo.sample import DemoSnapshot, demo_snapshots
from llm_assets.errors import LlmAssetsError
from llm_assets.store.folder import Folder

SUCCESS = "_SUCCESS"

# UTF-8 bytes of text in one file at most: files are read in parallel, so none may hold most of a snapshot.
LARGEST_PART = 16_000_000

# Text files that stay files, in each snapshot of prose; the others become records.
LOOSE_FILES = 8

# What this module writes into a snapshot, and what a killed `Folder.put` leaves of its `_SUCCESS`.
OUR_FILE = re.compile(r"demo-.*|\._SUCCESS\.[0-9a-f]+\.tmp", re.DOTALL)
LOOSE_NAME = re.compile(r"[A-Za-z0-9._+-]{1,120}\.(?:md|txt)")


class SnapshotDiffersError(LlmAssetsError, ValueError):
    """A complete snapshot holds other demo data: complete snapshots are never changed."""


class ForeignFilesError(LlmAssetsError, ValueError):
    """A snapshot that is not complete holds files of somebody else, who may still be writing."""


@dataclass(frozen=True)
class LandedSnapshot:
    """Counts of a snapshot: files (without `_SUCCESS`), documents, and UTF-8 bytes of text."""

    source: str
    snapshot: str
    files: int
    documents: int
    bytes: int


@dataclass(frozen=True)
class Record:
    """A document as a source delivers it. The licence is None where the package declares none."""

    id: str
    kind: str
    license: str | None
    package: str
    text: str


RECORD_SCHEMA = pa.schema(
    [
        pa.field(name, pa.large_string(), nullable=name == "license")
        for name in ("id", "kind", "license", "package", "text")
    ]
)


def write_demo_data(
    landing: Folder, *, megabytes: float = 50, installation: Installation | None = None
) -> list[LandedSnapshot]:
    """Land `docs/2026-01`, `docs/2026-02` and `code/2026-01`, taken from the running interpreter's installation.

    `docs`, about half of the megabytes (10⁶ bytes of UTF-8 text), is divided over its snapshots by hash of the
    documents' names; one in twenty of the first arrives again, unchanged, in the second. `code` is the rest. An
    installation that holds less yields less. A snapshot that is complete and the same is left as it is, one that is
    not complete is written anew.

    Raises ValueError for less than 0.1 megabytes, SnapshotDiffersError where a complete snapshot holds other demo
    data, ForeignFilesError where one that is not complete holds files this did not write.
    """
    snapshots = demo_snapshots(installation or running_installation(), megabytes)
    return [_land(landing / snapshot.source / snapshot.name, snapshot) for snapshot in snapshots]


def _land(folder: Folder, snapshot: DemoSnapshot) -> LandedSnapshot:
    files = dict(_docs_files(snapshot) if snapshot.source == "docs" else _code_files(snapshot))
    present = folder.names()
    if SUCCESS not in present:
        _write(folder, files, present)
    elif not _is_same(folder, files, present):
        raise SnapshotDiffersError(
            f"{folder.uri} is complete and holds other demo data, of another installation or size: "
            "remove that folder, or land elsewhere"
        )
    return LandedSnapshot(snapshot.source, snapshot.name, len(files), len(snapshot.documents), snapshot.size)


def _is_same(folder: Folder, files: Mapping[str, bytes], present: Iterable[str]) -> bool:
    """Whether the demo files there are exactly these. Files that others added do not matter."""
    demo_files = {name for name in present if name.startswith("demo-")}
    return demo_files == set(files) and all(
        folder.size(name) == len(data) and folder.read(name) == data for name, data in files.items()
    )


def _write(folder: Folder, files: Mapping[str, bytes], present: Iterable[str]) -> None:
    foreign = [name for name in present if not OUR_FILE.fullmatch(name)]
    if foreign:
        raise ForeignFilesError(
            f"{folder.uri} is not complete and holds files that are not demo data: {', '.join(foreign[:5])}"
        )
    for name in present:
        if name not in files:  # of a run with another size, killed before it was complete
            folder.remove(name)
    for name, data in files.items():
        with folder.create(name) as file:
            file.write(data)
    folder.put(SUCCESS, b"")


def _docs_files(snapshot: DemoSnapshot) -> Iterator[tuple[str, bytes]]:
    """Some text files as they are; of the others half in jsonl.gz, four tenths in parquet, a tenth in jsonl."""
    loose = _loose(snapshot.documents)
    yield from ((name, document.text.encode()) for name, document in loose.items())
    taken = {document.name for document in loose.values()}
    records = [document for document in snapshot.documents if document.name not in taken]
    yield from _parts("jsonl.gz", _compressed_gz, _tenths(records, range(5)))
    yield from _parts("parquet", _parquet, _tenths(records, range(5, 9)))
    yield from _parts("jsonl", _json_lines, _tenths(records, range(9, 10)))


def _code_files(snapshot: DemoSnapshot) -> Iterator[tuple[str, bytes]]:
    """Nine tenths in jsonl.zst, a tenth in jsonl."""
    yield from _parts("jsonl.zst", _compressed_zst, _tenths(snapshot.documents, range(9)))
    yield from _parts("jsonl", _json_lines, _tenths(snapshot.documents, range(9, 10)))


def _loose(documents: Iterable[HarvestedDocument]) -> dict[str, HarvestedDocument]:
    """The first text files of a snapshot with a name that can be flattened, by their flat names."""
    loose: dict[str, HarvestedDocument] = {}
    for document in documents:
        name = f"demo-{document.name.replace('/', '__')}"
        if document.kind == "text" and LOOSE_NAME.fullmatch(name) and len(loose) < LOOSE_FILES:
            loose.setdefault(name, document)
    return loose


def _tenths(documents: Iterable[HarvestedDocument], tenths: range) -> list[HarvestedDocument]:
    return [document for document in documents if stable_number(document.name, "format") % 10 in tenths]


def _parts(
    suffix: str, encode: Callable[[list[Record]], bytes], documents: Iterable[HarvestedDocument]
) -> Iterator[tuple[str, bytes]]:
    """Files of the documents, in order, each of at most `LARGEST_PART` bytes of text."""
    parts: list[list[Record]] = []
    room = 0
    for document in documents:
        if document.size > room:
            parts.append([])
            room = LARGEST_PART
        room -= document.size
        parts[-1].append(_record(document))
    return ((f"demo-{number:03}.{suffix}", encode(records)) for number, records in enumerate(parts))


def _record(document: HarvestedDocument) -> Record:
    package = document.package
    return Record(document.name, document.kind, package.license, package.name, document.text)


def _json_lines(records: Iterable[Record]) -> bytes:
    options = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return b"".join(orjson.dumps(record, option=options) for record in records)


def _compressed_gz(records: Iterable[Record]) -> bytes:
    return gzip.compress(_json_lines(records), compresslevel=6, mtime=0)


def _compressed_zst(records: Iterable[Record]) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(_json_lines(records))


def _parquet(records: Iterable[Record]) -> bytes:
    table = pa.Table.from_pylist([asdict(record) for record in records], schema=RECORD_SCHEMA)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=1_000)
    return sink.getvalue()
