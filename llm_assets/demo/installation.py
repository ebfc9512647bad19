"""A Python installation as a list of files, each with the package and the licence it belongs to.

Guarantees that a file's name is relative to the installation, so it says nothing about the machine, and that the
files come in one order, by hash of their names, whatever the disk says. What the files contain is not known here.
"""

from __future__ import annotations

import csv
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, PackageMetadata, distributions
from pathlib import Path

# Compiled code; and what a standard library's folder holds of an environment other than the one that runs.
SKIPPED_FOLDERS = frozenset({"__pycache__", "site-packages", "dist-packages"})

# Longer than any licence's name: what old packages put under `License:` may be the whole text.
LONGEST_LICENSE_NAME = 60


@dataclass(frozen=True)
class Package:
    """The package to which a file belongs, and the licence that it declares; None where it declares none."""

    name: str
    license: str | None


@dataclass(frozen=True)
class Root:
    """A folder of the installation. `name` stands for it in names; `package` where all of it is one package's."""

    name: str
    path: Path
    package: Package | None = None


@dataclass(frozen=True)
class InstalledFile:
    """A file by its name in the installation (`site-packages/numpy/__init__.py`)."""

    name: str
    path: Path
    package: Package


def stable_number(name: str, purpose: str) -> int:
    """64 bits of a name, the same on every run; independent for each purpose (of at most 16 characters)."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=purpose.encode()).digest()
    return int.from_bytes(digest, "big")


@dataclass(frozen=True)
class Installation:
    """Some folders of Python files and their documentation. Roots may not contain each other's files twice."""

    roots: tuple[Root, ...]

    @cached_property
    def files(self) -> list[InstalledFile]:
        """Every file, ordered by hash of its name: any prefix is a fair sample of the whole."""
        files = [file for root in self.roots for file in _files_of(root)]
        return sorted(files, key=lambda file: (stable_number(file.name, "order"), file.name))

    @cached_property
    def paths(self) -> list[str]:
        """The roots' absolute paths as a text of this machine might spell them."""
        spellings = {str(path) for root in self.roots for path in (root.path, root.path.resolve())}
        return sorted(spellings)


def running_installation() -> Installation:
    """The installation of the running interpreter: its standard library and its site-packages.

    In a virtual environment also its `share/doc`; elsewhere that folder belongs to the whole system.
    """
    paths = {name: Path(path) for name, path in sysconfig.get_paths().items()}
    roots = [
        Root("stdlib", paths["stdlib"], Package("python", "PSF-2.0")),
        Root("site-packages", paths["purelib"]),
        Root("platlib", paths["platlib"]),
    ]
    if sys.prefix != sys.base_prefix:
        roots.append(Root("share-doc", paths["data"] / "share" / "doc"))
    distinct = {root.path.resolve(): root for root in reversed(roots)}
    return Installation(tuple(root for root in roots if distinct[root.path.resolve()] is root))


def metadata_field(metadata: PackageMetadata, field: str) -> str:
    """A field of a package's metadata, empty where it has none."""
    # The interface has `get` only from Python 3.12 on.
    return metadata[field] if field in metadata else ""  # noqa: SIM401


def license_of(metadata: PackageMetadata) -> str | None:
    """The licence a package declares: its expression, else its short name, else its trove classifier."""
    for field in ("License-Expression", "License"):
        value = metadata_field(metadata, field).strip()
        if value and value != "UNKNOWN" and "\n" not in value and len(value) <= LONGEST_LICENSE_NAME:
            return value
    for classifier in metadata.get_all("Classifier") or []:
        if classifier.startswith("License :: "):
            return classifier.rsplit(" :: ", 1)[-1]
    return None


def _files_of(root: Root) -> Iterator[InstalledFile]:
    owners = {} if root.package else _owners(root.path)
    for folder, folders, files in os.walk(root.path):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        within = Path(folder).relative_to(root.path).parts
        for file in files:
            name = "/".join((*within, file))
            if not name.isprintable() or not _is_utf8(name):
                continue
            package = root.package or owners.get(name) or Package(name.split("/")[0].removesuffix(".py"), None)
            yield InstalledFile(f"{root.name}/{name}", Path(folder, file), package)


def _owners(folder: Path) -> dict[str, Package]:
    """The package of each file that an installer recorded, by its path relative to the folder."""
    declared = [(_declared(found), found) for found in distributions(path=[str(folder)])]
    installed = [(package, found) for package, found in declared if package is not None]
    owners: dict[str, Package] = {}
    for package, distribution in sorted(installed, key=lambda pair: (pair[0].name, pair[0].license or "")):
        owners.update(dict.fromkeys(_recorded(distribution), package))
    return owners


def _declared(distribution: Distribution) -> Package | None:
    """The package a distribution says it is; None for what is left of one that was not removed cleanly."""
    try:
        if not (distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")):
            return None
    except UnicodeDecodeError:  # from before metadata had to be UTF-8
        return None
    metadata = distribution.metadata
    name = metadata_field(metadata, "Name")
    return Package(name, license_of(metadata)) if name else None


def _recorded(distribution: Distribution) -> Iterator[str]:
    # `Distribution.files` makes an object of each entry, and in newer Pythons looks each up on disk.
    record = distribution.read_text("RECORD") or ""
    for row in csv.reader(record.splitlines()):
        if row:
            yield row[0]


def _is_utf8(name: str) -> bool:
    """Whether a file name is text; Python gives undecodable bytes of one as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
