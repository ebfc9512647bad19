"""Domains and URLs in text: the kernel that looks for hosts, and below a host for paths.

Guarantees that a host is found with all its sub-domains and a path with all below it, as whole labels and whole
segments, in time proportional to the text; that sub-domains and prefixes count is Safe Browsing's way
(developers.google.com/safe-browsing/v4/urls-hashing, "Suffix/prefix expressions"). Each entry that an address is
below is one hit. Addresses are read as they are written: percent-encoding, "/../" and other escapes are not undone.

A host in text stands by itself, with or without a scheme. It is none as part of a longer one, before an "@", in a path
(after a single "/") or, where the entry has no dot, without a "." or "//" before it. It may follow an "@". In JSON each
slash may be "\\/". A host compares casefolded, a path byte by byte, after a port or none. A path ends at "/", "?", "#",
at what no URL has, or at punctuation that ends the address; one with a query ends at "&" as well. A document's own URL
has its own host only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_assets.kernels.kernel import kernel
from llm_assets.kernels.strings import NOT_FOUND, Strings, add_byte, build_strings, find, may_have, start_of
from llm_assets.kernels.utf8 import code_at
from llm_assets.stages.clean.blocklist.automaton import (
    CHUNK,
    COLUMNS,
    END,
    KIND,
    ROOT,
    STATE,
    Automaton,
    Bytes,
    Integers,
    add_hits,
    build_automaton,
    follow,
    read_units,
)
from llm_assets.stages.clean.blocklist.entries import MAX_HOST, Address
from llm_assets.stages.clean.blocklist.folding import WORD, Folding, units

_SPACE, _HASH, _AMPERSAND, _HYPHEN, _DOT, _SLASH = 0x20, 0x23, 0x26, 0x2D, 0x2E, 0x2F
_ZERO, _NINE, _COLON, _QUESTION, _AT, _BACKSLASH = 0x30, 0x39, 0x3A, 0x3F, 0x40, 0x5C

# The last units, as many as a host can have and a power of two.
_RECENT: Final = 1 << MAX_HOST.bit_length()

_IN_PATH: Final = np.uint8(0)
_PUNCTUATION: Final = np.uint8(1)
_NOT_IN_PATH: Final = np.uint8(2)


def _classes() -> Bytes:
    """Class of every ASCII character, uint8[128]: ends an address, may end a sentence or bracket, or neither."""
    table = np.full(0x80, _IN_PATH, np.uint8)
    table[[ord(character) for character in ".,;:!')]*_~"]] = _PUNCTUATION
    # RFC 3986, appendix A, has neither these nor controls.
    table[[*range(0x21), 0x7F, *map(ord, '"<>\\^`{|}')]] = _NOT_IN_PATH
    return table


_CLASSES: Final = _classes()


class Addresses(NamedTuple):
    """Entries as the kernel takes them. The value of host n in the automaton `hosts` is n + 1.

    Of host n, `sizes[n]` (int64) is its number of units, `dotted[n]` (bool) whether it has a dot, `masks[n]` (uint64)
    has the bits of the lists that it is on with all its paths, and `depths[n]` (int64) is the size of its longest path
    in `paths`, where n is the tag. `path_masks` (uint64) has the bits of the lists each path is on.
    """

    hosts: Automaton
    sizes: Integers
    dotted: npt.NDArray[np.bool_]
    masks: npt.NDArray[np.uint64]
    depths: Integers
    paths: Strings
    path_masks: npt.NDArray[np.uint64]


def build_addresses(lists: Sequence[Iterable[Address]]) -> Addresses:
    """The tables of up to 64 lists of entries. List i has bit i."""
    masks: dict[str, int] = {}
    path_masks: dict[tuple[str, bytes], int] = {}
    for bit, entries in enumerate(lists):
        for entry in entries:
            masks.setdefault(entry.host, 0)
            if entry.path:
                below = entry.host, entry.path.encode()
                path_masks[below] = path_masks.get(below, 0) | 1 << bit
            else:
                masks[entry.host] |= 1 << bit
    numbers = {host: number for number, host in enumerate(masks)}
    depths = np.zeros(len(numbers), np.int64)
    for host, path in path_masks:
        depths[numbers[host]] = max(depths[numbers[host]], len(path))
    return Addresses(
        hosts=build_automaton({host: number + 1 for host, number in numbers.items()}),
        sizes=np.array([sum(1 for _ in units(host)) for host in numbers], np.int64),
        dotted=np.array(["." in host for host in numbers], np.bool_),
        masks=np.array(list(masks.values()), np.uint64),
        depths=depths,
        paths=build_strings([path for _, path in path_masks], [numbers[host] for host, _ in path_masks]),
        path_masks=np.array(list(path_masks.values()), np.uint64),
    )


@kernel
def count_addresses(
    offsets: Integers, data: Bytes, addresses: Addresses, folding: Folding, are_urls: bool, hits: Integers
) -> None:
    """Add to `hits` (int64[documents, lists]) how often each document has addresses of each list.

    Document i is `data[offsets[i]:offsets[i + 1]]`, normalised as the entries are: a text, or the URL of one.
    """
    unit = np.empty(addresses.hosts.vocabulary.longest, np.uint8)
    read = np.empty((CHUNK, COLUMNS), np.int64)
    recent = np.empty((_RECENT, 2), np.int64)
    for document in range(len(hits)):
        text = data[offsets[document] : offsets[document + 1]]
        if are_urls:
            start, end = _authority(text)
            _count_between(text, start, end, start, addresses, folding, unit, read, recent, hits[document])
        else:
            _count_in(text, addresses, folding, unit, read, recent, hits[document])


@kernel(counted=False)
def _authority(url: Bytes) -> tuple[int, int]:
    """Where host and port of a URL start and end. One without a scheme starts with them."""
    start = 0
    while start + 1 < len(url) and url[start] != _QUESTION and url[start] != _HASH and url[start] != _SLASH:
        start += 1
    slashes = start + 1 < len(url) and url[start] == _SLASH and url[start + 1] == _SLASH
    start = start + 2 if slashes and (start == 0 or url[start - 1] == _COLON) else 0
    end = start
    while end < len(url) and url[end] > _SPACE:
        if url[end] == _SLASH or url[end] == _QUESTION or url[end] == _HASH:
            break
        end += 1
        if url[end - 1] == _AT:
            start = end
    return start, end


@kernel(counted=False)
def _count_in(
    text: Bytes, addresses: Addresses, folding: Folding, unit: Bytes, read: Integers, recent: Integers, hits: Integers
) -> None:
    """Find the addresses of one text: runs between ASCII white space are searched where they have a dot or "//"."""
    position = counted = 0
    while position + 1 < len(text):
        byte, following = text[position], text[position + 1]
        is_dot = byte == _DOT and following > _SPACE
        if not is_dot and (byte != _SLASH or (following != _SLASH and following != _BACKSLASH)):
            position += 1
            continue
        start, end = position, position + 1
        while start > counted and text[start - 1] > _SPACE:
            start -= 1
        while end < len(text) and text[end] > _SPACE:
            end += 1
        _count_between(text, start, end, -1, addresses, folding, unit, read, recent, hits)
        position = counted = end


@kernel(counted=False)
def _count_between(
    text: Bytes,
    position: int,
    end: int,
    own: int,
    addresses: Addresses,
    folding: Folding,
    unit: Bytes,
    read: Integers,
    recent: Integers,
    hits: Integers,
) -> None:
    """Find the addresses in `text[position:end]`, with the characters around it. A host at `own` needs no dot.

    `recent[i % _RECENT]` has, of unit i, where it starts and where the run of labels and dots that it is in starts.
    """
    flags, values, suffixes = folding.flags, addresses.hosts.values, addresses.hosts.suffixes
    state, run, joined, count = ROOT, position, False, 0
    while position < end:
        units_read = read_units(text, position, end, addresses.hosts, folding, unit, read)
        state = follow(addresses.hosts, state, read, units_read)
        for number in range(units_read):
            joins = read[number, KIND] & WORD != 0 or text[position] == _HYPHEN or text[position] == _DOT
            run = run if joined and joins else position
            joined = joins
            recent[count % _RECENT, 0] = position
            recent[count % _RECENT, 1] = run
            count += 1
            position = read[number, END]
            ending = read[number, STATE]
            while ending != ROOT:
                host = int(values[ending]) - 1
                ending = np.int64(suffixes[ending])
                if host < 0 or not _ends_host(text, position, flags):
                    continue
                oldest = (count - addresses.sizes[host]) % _RECENT
                start, run_then = recent[oldest, 0], recent[oldest, 1]
                if _starts_host(text, start, run_then, addresses.dotted[host] or start == own):
                    add_hits(addresses.masks[host], hits)
                    if addresses.depths[host]:
                        _count_paths(text, position, host, addresses, flags, hits)


@kernel(counted=False)
def _starts_host(text: Bytes, start: int, run: int, is_enough: bool) -> bool:
    """Whether a host may start there, in a run of labels from `run` on; `is_enough`: with nothing before it."""
    before = text[start - 1] if start else _SPACE
    if before == _HYPHEN:
        return False
    slashes = _slashes_before(text, run)
    if slashes == 1:
        return False
    return is_enough or before == _DOT or (slashes == 2 and run == start)


@kernel(counted=False)
def _slashes_before(text: Bytes, position: int) -> int:
    """How many there are, up to two. JSON may have "\\/" for a slash."""
    slashes = 0
    while slashes < 2 and position > 0 and text[position - 1] == _SLASH:
        slashes += 1
        position -= 1
        if position > 0 and text[position - 1] == _BACKSLASH:
            position -= 1
    return slashes


@kernel(counted=False)
def _ends_host(text: Bytes, end: int, flags: Bytes) -> bool:
    if end == len(text):
        return True
    if text[end] == _AT:
        return False
    if (text[end] != _DOT and text[end] != _HYPHEN) or end + 1 == len(text):
        return True
    return not flags[code_at(text, end + 1, len(text))] & WORD


@kernel(counted=False)
def _count_paths(text: Bytes, position: int, host: int, addresses: Addresses, flags: Bytes, hits: Integers) -> None:
    """Add the hits of the paths of a host that ends at `position`."""
    paths = addresses.paths
    start = _skip_port(text, position)
    if start == len(text) or (text[start] != _SLASH and text[start] != _QUESTION):
        return
    key = start_of(host)
    has_query = False
    for end in range(start + 1, min(start + addresses.depths[host], len(text)) + 1):
        byte = text[end - 1]
        if byte <= _SPACE:
            return
        has_query |= byte == _QUESTION
        key = add_byte(key, byte)
        if not may_have(paths.bits, key):
            continue
        path = find(paths, key, host, text, start, end - start)
        if path != NOT_FOUND and _ends_segment(text, end, has_query, flags):
            add_hits(addresses.path_masks[path], hits)


@kernel(counted=False)
def _skip_port(text: Bytes, position: int) -> int:
    """Where the path starts that follows a host, behind the dot of the root and a port of up to five digits."""
    if position + 1 < len(text) and text[position] == _DOT:
        position += 1
    if position < len(text) and text[position] == _COLON:
        position += 1
        for _ in range(5):
            if position < len(text) and _ZERO <= text[position] <= _NINE:
                position += 1
    return position


@kernel(counted=False)
def _ends_segment(text: Bytes, end: int, has_query: bool, flags: Bytes) -> bool:
    """Whether the segment or the parameter of a path is over at `end`."""
    if end == len(text) or text[end] == _SLASH or text[end] == _QUESTION or text[end] == _HASH:
        return True
    if text[end] == _AMPERSAND:
        return has_query
    while end < len(text) and text[end] < 0x80 and _CLASSES[text[end]] == _PUNCTUATION:
        end += 1
    if end == len(text):
        return True
    code = code_at(text, end, len(text))
    return not flags[code] & WORD if code >= 0x80 else _CLASSES[code] == _NOT_IN_PATH
