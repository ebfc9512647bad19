"""What blocklists find, said plainly: every stretch of a text is compared with every entry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llm_assets.stages.clean.blocklist.entries import Address
from llm_assets.stages.clean.blocklist.folding import is_word_character


def plain_words(text: str, entries: set[str]) -> int:
    """Occurrences of the entries, which are casefolded, in a text."""
    return sum(_stretch(text, start, end) in entries for start, end in _whole_words(text))


def _stretch(text: str, start: int, end: int) -> str:
    words = " ".join(text[start:end].split())
    trimmed = not text[start].isspace() and not text[end - 1].isspace()
    return words.casefold() if trimmed else ""


def _whole_words(text: str) -> Iterator[tuple[int, int]]:
    cuts = [place for place in range(len(text) + 1) if not _within_word(text, place)]
    yield from ((start, end) for start in cuts for end in cuts if start < end)


def _within_word(text: str, place: int) -> bool:
    return 0 < place < len(text) and _is_word(text[place - 1]) and _is_word(text[place])


def _is_word(character: str) -> bool:
    return bool(character) and is_word_character(character)


def plain_addresses(text: str, entries: Sequence[Address]) -> int:
    """Hits of the entries, which are distinct, in a text."""
    return sum(
        text[start:end].casefold() == entry.host
        and _starts_host(text, start, "." in entry.host)
        and _ends_host(text[end:])
        and _has_path(text[end:], entry.path)
        for start, end in _whole_words(text)
        for entry in entries
    )


def plain_url(url: str, entries: Sequence[Address]) -> int:
    """Hits of the entries for a document's own URL."""
    url = re.sub(r"^([^?#/]*:)?//", "", url)
    rest = re.sub(r"^[^/?#\x00-\x20]*", "", url)
    authority = url.removesuffix(rest).rpartition("@")[2]
    return sum(
        end <= len(authority)
        and authority[first:end].casefold() == entry.host
        and _starts_host("//" + authority, first + 2, "." in entry.host)
        and _ends_host(authority[end:] + rest)
        and _has_path(authority[end:] + rest, entry.path)
        for first, end in _whole_words(authority)
        for entry in entries
    )


def _starts_host(text: str, start: int, dotted: bool) -> bool:
    run = start
    if _joins(text[start]):
        while run and _joins(text[run - 1]):
            run -= 1
    before = text[:run]
    after_scheme = bool(re.search(r"/\\?/\Z", before))
    if text[:start].endswith("-") or (before.endswith("/") and not after_scheme):
        return False
    return dotted or text[:start].endswith(".") or (run == start and after_scheme)


def _joins(character: str) -> bool:
    return character in "-." or _is_word(character)


def _ends_host(rest: str) -> bool:
    return not (rest.startswith("@") or (rest[:1] in ("-", ".") and _is_word(rest[1:2])))


def _has_path(rest: str, path: str) -> bool:
    if not path:
        return True
    rest = re.sub(r"^\.?(:[0-9]{0,5})?", "", rest) if len(rest) > 1 else rest
    if not rest.startswith(path):
        return False
    rest = rest[len(path) :]
    if not rest or rest[0] in "/?#" or (rest[0] == "&" and "?" in path):
        return True
    rest = rest.lstrip(".,;:!')]*_~")
    if not rest:
        return True
    if rest[0].isascii():
        return rest[0] <= " " or rest[0] in '\x7f"<>\\^`{|}'
    return not _is_word(rest[0])
