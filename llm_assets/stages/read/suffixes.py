"""The suffixes of file names, and what they say: archive, format and compression.

Guarantees one answer for every name, whatever its case. Which code reads a format is the business of `formats.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

JSON_LINES = (".jsonl", ".ndjson")
JSON = (".json",)
PLAIN_TEXT = (".txt", ".md")
COMMA_SEPARATED = (".csv",)
TAB_SEPARATED = (".tsv",)
PARQUET = (".parquet",)
ARROW = (".arrow", ".feather")
TAR = (".tar",)
ZIP = (".zip",)

STREAMED = (*JSON_LINES, *JSON, *PLAIN_TEXT, *COMMA_SEPARATED, *TAB_SEPARATED, *TAR)
"""Read from front to back, so they may be compressed."""
WHOLE = (*PARQUET, *ARROW, *ZIP)
"""Read here and there, and compressed inside."""

GZIP, ZSTANDARD, XZ, BZIP2 = ".gz", ".zst", ".xz", ".bz2"
COMPRESSIONS = (GZIP, ZSTANDARD, XZ, BZIP2)
_SHORT = {".tgz": ".tar.gz", ".tzst": ".tar.zst", ".txz": ".tar.xz", ".tbz2": ".tar.bz2"}


@dataclass(frozen=True)
class Suffix:
    """The known format that a file name ends with, and the compression around it, or ""."""

    format: str
    compression: str


def suffix_of(name: str, stands_for: Mapping[str, str], further: Iterable[str] = ()) -> Suffix | None:
    """Format and compression of a name. `stands_for` maps suffixes ("" for none); `further` are more formats.

    None where the format is not known. A further format may be compressed, and comes before a known one.
    """
    known = {**_SHORT, **stands_for}
    name = _replaced(PurePosixPath(name).name.lower(), known)
    compression = next((each for each in COMPRESSIONS if name.endswith(each)), "")
    stem = _replaced(name.removesuffix(compression), known) if compression else name
    for format_ in (*further, *STREAMED, *(() if compression else WHOLE)):
        if stem.endswith(format_) and stem != format_:
            return Suffix(format_, compression)
    return None


def _replaced(name: str, stands_for: Mapping[str, str]) -> str:
    if "" in stands_for and "." not in name:
        return name + stands_for[""]
    for suffix in sorted(stands_for, key=len, reverse=True):
        if suffix and name.endswith(suffix):
            return name.removesuffix(suffix) + stands_for[suffix]
    return name
