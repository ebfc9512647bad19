"""The files of a blocklist: one entry a line, taken apart and checked.

Guarantees that a line that cannot be an entry is an error that names the file and the line, since a skipped one
would let through what it was to stop. How entries are found in text is not known here.

A line is blank, a comment from a `#` at its start or behind white space on, or an entry. Files are UTF-8, with or
without a byte-order mark.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import idna

from llm_assets.errors import LlmAssetsError
from llm_assets.stages.clean.blocklist.folding import is_letter
from llm_assets.stages.clean.edit.normalise import normalise_text
from llm_assets.stages.clean.edit.parameters import Form

EntryT = TypeVar("EntryT")

_MAX_CHARACTERS: Final = 1_000
MAX_HOST: Final = 253  # RFC 1035, section 2.3.4
_MAX_LABEL: Final = 63
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?:\*?\.)?([^/?#]*)([/?][^#]*)?(?:#.*)?")


class BlocklistError(LlmAssetsError, ValueError):
    """A line of a file of a blocklist that cannot be used, or a file without any."""


@dataclass(frozen=True)
class Address:
    """A host name, casefolded, and the path and query below it: "" for all of the host and its sub-domains."""

    host: str
    path: str


@dataclass(frozen=True)
class ListFile:
    """The bytes of a list and where they came from, to say so."""

    uri: str
    data: bytes

    def words(self, form: Form) -> list[str]:
        """Words and phrases: normalised, casefolded (`str.casefold`), a single space for any white space."""
        return self._entries(lambda line: [_read_word(normalise_text(line, form))])

    def addresses(self, form: Form) -> list[Address]:
        """Domains and URLs. An internationalised one is there in both its spellings, Unicode and "xn--"."""
        return self._entries(lambda line: _read_addresses(normalise_text(line, form)))

    def _entries(self, parse: Callable[[str], list[EntryT]]) -> list[EntryT]:
        entries: list[EntryT] = []
        for number, line in self._lines():
            try:
                entries += parse(line)
            except ValueError as error:
                raise BlocklistError(f"{self.uri}, line {number}: {error}: {line[:100]!r}") from error
        if not entries:
            raise BlocklistError(f"{self.uri} has no entry")
        return entries

    def _lines(self) -> Iterator[tuple[int, str]]:
        for number, encoded in enumerate(self.data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
            try:
                line = _COMMENT.sub("", encoded.decode()).strip()
            except UnicodeDecodeError as error:
                raise BlocklistError(f"{self.uri}, line {number} is not UTF-8: {encoded[:100]!r}") from error
            if line:
                yield number, line


def _read_word(line: str) -> str:
    if len(line) > _MAX_CHARACTERS:
        raise ValueError(f"more than {_MAX_CHARACTERS:,} characters: one word or phrase a line is expected")
    if "\t" in line:
        raise ValueError("a tab: one word or phrase a line is expected, no table")
    _refuse_controls(line)
    return " ".join(line.casefold().split())


def _read_addresses(line: str) -> list[Address]:
    if len(line.split()) > 1:
        raise ValueError("white space: one domain or URL a line is expected")
    _refuse_controls(line)
    match = _ADDRESS.fullmatch(_SCHEME.sub("", line, count=1))
    if match is None:
        raise ValueError("neither a domain nor a URL")
    host, path = match[1].removesuffix("."), (match[2] or "").rstrip("/?")
    return [Address(each, path) for each in _read_host(host)]


def _refuse_controls(line: str) -> None:
    for character in line:
        if unicodedata.category(character) == "Cc" and not character.isspace():
            raise ValueError(f"the control character {character!r}")


def _read_host(host: str) -> list[str]:
    folded = host.casefold()
    labels = folded.split(".")
    if not all(map(_is_label, labels)) or len(folded) > MAX_HOST:
        raise ValueError(
            f"no host name: letters, digits, '-' and '_', up to {_MAX_LABEL} between dots and {MAX_HOST} in all"
        )
    if folded.isascii() and "xn--" not in folded:
        return [folded]
    try:
        ascii_form = idna.encode(host, uts46=True).decode()
        return sorted({folded, ascii_form, idna.decode(ascii_form).casefold()})
    except idna.IDNAError as error:
        raise ValueError(f"no internationalised host name ({error})") from error


def _is_label(label: str) -> bool:
    return 0 < len(label) <= _MAX_LABEL and all(character == "-" or is_letter(character) for character in label)
