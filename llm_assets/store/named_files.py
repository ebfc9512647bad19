"""Files that a user names in a declaration: read whole, and identified by a digest of their content.

Guarantees that a digest is that of the current content. A process does not read a file again for its digest while size
and times (or the ETag, in an object store) are those of the last read.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from llm_assets.errors import LlmAssetsError

Identity = tuple[str, ...]

_RACY_SECONDS: Final = 2.0
"""A file changed this recently may change again within the same timestamp: FAT has steps of two seconds."""

_digests: dict[str, tuple[Identity, str]] = {}
"""URI → identity of the file when it was read last, and the digest of its content."""


class NamedFileError(LlmAssetsError, ValueError):
    """A file named by a user cannot be read. The message names it and the reason."""


@dataclass(frozen=True)
class NamedFile:
    """The content of a file, and its URI for messages."""

    uri: str
    data: bytes = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """BLAKE2b of the content, 16 bytes in hexadecimal."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()


def read_named(uri: str) -> NamedFile:
    """The file at a path or URI (`/data/list.txt`, `list.txt`, `s3://bucket/list.txt`).

    Raises FileNotFoundError where there is none, NamedFileError where it cannot be read.
    """
    before = _identity(uri)
    with _named(uri) as (filesystem, path):
        file = NamedFile(uri, cast(bytes, filesystem.cat_file(path)))
    if before is not None and before == _identity(uri):
        _digests[uri] = before, file.digest
    return file


def digest_of(uri: str) -> str:
    """The digest of the file at the URI now. Raises what `read_named` raises."""
    known, identity = _digests.get(uri), _identity(uri)
    return known[1] if known is not None and known[0] == identity else read_named(uri).digest


def _identity(uri: str) -> Identity | None:
    """A value that changes with the content of the file; None where the filesystem has none that is reliable."""
    with _named(uri) as (filesystem, path):
        if isinstance(filesystem, LocalFileSystem):
            return _local_identity(Path(path))
        filesystem.invalidate_cache()
        told = cast("Mapping[str, object]", filesystem.info(path))
        tag = told.get("ETag") or told.get("etag")
        return None if tag is None else (str(tag), str(told.get("size")))


def _local_identity(path: Path) -> Identity | None:
    told = path.stat()
    if time.time() - max(told.st_mtime, told.st_ctime) < _RACY_SECONDS:
        return None
    return tuple(map(str, (told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns)))


@contextmanager
def _named(uri: str) -> Generator[tuple[Any, str]]:
    """The filesystem and the path in it. Errors raised within become NamedFileError, naming the file."""
    try:
        filesystem, path = fsspec.url_to_fs(uri)
        yield filesystem, str(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise NamedFileError(f"{uri} cannot be read: {error}") from error
