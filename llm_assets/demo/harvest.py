"""Harvests documents from an installation: its prose (docstrings, descriptions, text files) and its code.

Guarantees that every document is non-empty and valid UTF-8, without NUL, over-long lines or paths of this machine,
and that modules are parsed, never imported. How many documents are wanted, and where they go, is not known here.
"""

from __future__ import annotations

import ast
import gc
import re
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath
from typing import Literal

from llm_assets.demo.installation import Installation, InstalledFile, Package, license_of, metadata_field

Kind = Literal["code", "description", "docstrings", "text"]

# Below this a file is a stub or a one-line notice; above it, and beyond that line length, it is data or generated.
SMALLEST_DOCUMENT = 200
LARGEST_FILE = 1_000_000
LONGEST_LINE = 5_000

# Parsing is the dearest step, about 9 MB/s, so only modules that look worth it are parsed: those whose
# triple-quoted strings make up this share of the file. Half as much would parse twice as much for the same prose.
PROSE_SHARE = 0.3

# Small files are read ahead by threads: on a cold disk each costs a millisecond of waiting.
READERS = 4
READ_AHEAD = 64

TRIPLE_QUOTES = (b'"""', b"'''")
LICENCE_LIKE = re.compile(r"(licen[cs]e|copying|copyright|notice|authors)", re.IGNORECASE)
README_LIKE = re.compile(r"(readme|changes|changelog|history|news|contributing|install)", re.IGNORECASE)
PROSE_SUFFIXES = frozenset({".md", ".rst", ".txt"})
METADATA_FOLDER = (".dist-info", ".egg-info")


@dataclass(frozen=True)
class HarvestedDocument:
    """A text of the installation. `name` is unique among documents of prose, and among those of code."""

    name: str
    text: str
    kind: Kind
    package: Package

    @cached_property
    def size(self) -> int:
        """UTF-8 bytes of the text."""
        return len(self.text.encode())


def prose(installation: Installation) -> Iterator[HarvestedDocument]:
    """Docstrings (one document a module), package descriptions and text files, in the installation's order."""
    readers = ((file, _prose_reader(file)) for file in installation.files)
    return _documents(installation, ((file, read) for file, read in readers if read is not None))


def code(installation: Installation) -> Iterator[HarvestedDocument]:
    """Python files as they are, in the installation's order."""
    return _documents(installation, ((file, _code) for file in installation.files if _is_module(file)))


Reader = Callable[[InstalledFile, bytes], HarvestedDocument | None]


def _documents(
    installation: Installation, files: Iterable[tuple[InstalledFile, Reader]]
) -> Iterator[HarvestedDocument]:
    for file, read, data in _contents(files):
        document = read(file, data)
        if document is not None and _is_presentable(document, installation.paths):
            yield document


def _contents(files: Iterable[tuple[InstalledFile, Reader]]) -> Iterator[tuple[InstalledFile, Reader, bytes]]:
    waiting: deque[tuple[InstalledFile, Reader, Future[bytes]]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        for file, read in files:
            waiting.append((file, read, pool.submit(_bytes_of, file.path)))
            if len(waiting) > READ_AHEAD:
                first, first_read, data = waiting.popleft()
                yield first, first_read, data.result()
        for file, read, data in waiting:
            yield file, read, data.result()


def _bytes_of(path: Path) -> bytes:
    """The file, or nothing where its size rules it out, it is a link to nowhere, or not ours to read."""
    try:
        if not SMALLEST_DOCUMENT <= path.stat().st_size <= LARGEST_FILE:
            return b""
        return path.read_bytes()
    except (FileNotFoundError, PermissionError):
        return b""


def _is_presentable(document: HarvestedDocument, paths: list[str]) -> bool:
    text = document.text
    try:
        text.encode()
    except UnicodeEncodeError:  # a docstring with an escape for half of a surrogate pair
        return False
    return (
        len(text) >= SMALLEST_DOCUMENT
        and not text.isspace()
        and "\0" not in text
        and max(map(len, text.split("\n"))) <= LONGEST_LINE
        and not any(path in text for path in paths)
    )


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _is_module(file: InstalledFile) -> bool:
    # The modules of an editable installation are written by its installer, and say where the checkout is.
    return file.name.endswith(".py") and "/__editable__" not in file.name


def _prose_reader(file: InstalledFile) -> Reader | None:
    if _is_module(file):
        return _docstrings
    path = PurePosixPath(file.name)
    if path.parent.suffix in METADATA_FOLDER and path.name in ("METADATA", "PKG-INFO"):
        return _description
    return _text if _is_text_file(path) else None


def _is_text_file(path: PurePosixPath) -> bool:
    if {"test", "tests"}.intersection(path.parts):  # what tests read is seldom meant for people
        return False
    if any(part.endswith(METADATA_FOLDER) for part in path.parts[:-1]):
        return "licenses" in path.parts or LICENCE_LIKE.match(path.name) is not None
    if path.suffix.lower() in PROSE_SUFFIXES:
        return not path.name.lower().startswith(("requirements", "cmakelists"))
    return not path.suffix and (LICENCE_LIKE.match(path.name) or README_LIKE.match(path.name)) is not None


def _code(file: InstalledFile, data: bytes) -> HarvestedDocument | None:
    text = _decoded(data)
    return None if text is None else HarvestedDocument(file.name, text, "code", file.package)


def _text(file: InstalledFile, data: bytes) -> HarvestedDocument | None:
    text = _decoded(data)
    return None if text is None else HarvestedDocument(file.name, text, "text", file.package)


def _description(file: InstalledFile, data: bytes) -> HarvestedDocument | None:
    """The long description of a package, which is most often its README."""
    if not data or _decoded(data) is None:
        return None
    metadata = Distribution.at(file.path.parent).metadata
    package = Package(metadata_field(metadata, "Name") or file.package.name, license_of(metadata))
    text = metadata_field(metadata, "Description")
    return HarvestedDocument(file.name, text, "description", package)


def _docstrings(file: InstalledFile, data: bytes) -> HarvestedDocument | None:
    """A module's docstring, then those of its classes and functions, each under its qualified name."""
    quoted = sum(len(part) for quotes in TRIPLE_QUOTES for part in data.split(quotes)[1::2])
    if quoted < max(SMALLEST_DOCUMENT, PROSE_SHARE * len(data)):
        return None
    source = _decoded(data)
    if source is None:
        return None
    with _collector_paused():
        sections = [f"{name}\n\n{text}" for name, text in _parsed_docstrings(source, _module_name(file.name))]
    return HarvestedDocument(file.name, "\n\n".join([*sections, ""]), "docstrings", file.package)


def _parsed_docstrings(source: str, module: str) -> list[tuple[str, str]]:
    """Qualified names and docstrings; none where it is a template, of another Python, or nested too deeply."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are their authors' business
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return list(_docstrings_in(tree, module))


@contextmanager
def _collector_paused() -> Generator[None]:
    """No cyclic garbage collection. A syntax tree is many objects and no cycle: looking for garbage while one
    lives takes longer than parsing it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _module_name(name: str) -> str:
    """`numpy.linalg` for `site-packages/numpy/linalg/__init__.py`."""
    parts = PurePosixPath(name).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _docstrings_in(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[tuple[str, str]]:
    docstring = ast.get_docstring(node)
    if docstring:
        yield name, docstring
    if isinstance(node, ast.Module | ast.ClassDef):
        for definition in _definitions(node.body):
            yield from _docstrings_in(definition, f"{name}.{definition.name}")


def _definitions(
    body: Iterable[ast.stmt],
) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Classes and functions of a body, also those defined under an `if` or in a `try`."""
    for statement in body:
        match statement:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield statement
            case ast.If():
                yield from _definitions([*statement.body, *statement.orelse])
            case ast.Try():
                handlers = [inner for handler in statement.handlers for inner in handler.body]
                yield from _definitions([*statement.body, *handlers, *statement.orelse])
            case _:
                continue
