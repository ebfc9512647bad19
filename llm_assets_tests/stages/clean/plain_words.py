"""What `punctuation` says words are, in plain Python: slow, and obvious one rule at a time."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

from llm_assets.stages.clean.words.lexicon import CUTS, EXCEPTION, JOINED, UNIT
from llm_assets.stages.clean.words.marks import entries, mark_flags
from llm_assets.stages.clean.words.punctuation import (
    ANYWHERE,
    BEFORE_STOP,
    CAPITAL,
    CLOSING,
    OPENING,
    QUOTE,
    SMALL,
)

ENTRIES = {entry.decode(): kind for entry, kind in entries().items()}
DIGITS = tuple("0123456789")
flags = cache(mark_flags)


def plain_words(text: str) -> list[str]:
    """The words of a text."""
    return [word for stretch in text.split() for word in _joined(_cut(stretch))]


def _is(character: str, flag: int) -> bool:
    return character != "" and bool(flags(character) & flag)


def _exception(text: str) -> list[str] | None:
    kind = ENTRIES.get(text, 0)
    if not kind & EXCEPTION:
        return None
    encoded = text.encode()
    places = [0, *(place for place in range(len(encoded)) if (kind & CUTS) >> place & 1), len(encoded)]
    return [encoded[start:end].decode() for start, end in pairwise(places)]


def _cut(text: str) -> list[str]:
    before: list[str] = []
    behind: list[str] = []
    while text:
        if (words := _exception(text)) is not None:
            return before + words + behind
        opening = _opening(text)
        rest = text[len(opening) :]
        if opening and (words := _exception(rest)) is not None:
            return [*before, opening, *words, *behind]
        closing = _closing(rest)
        if closing and (words := _exception(text.removesuffix(closing))) is not None:
            return [*before, *words, closing, *behind]
        if not opening and not closing:
            return before + _cut_within(text) + behind
        before += [opening] if opening else []
        behind = [closing, *behind] if closing else behind
        text = rest.removesuffix(closing)
    return before + behind


def _opening(text: str) -> str:
    if _is(text[0], OPENING):
        return "" if text[0] == "+" and text[1:2] in DIGITS else text[0]
    found = re.match(r"\.\.+|US\$|[AC]\$", text)
    return found.group() if found else ""


def _closing(text: str) -> str:
    if text.endswith("……"):
        return "……"
    if text and _is(text[-1], CLOSING):
        return text[-1]
    if found := re.search(r"(\.\.+|['’][sS])\Z", text):
        return found.group(1)
    if text.endswith("."):
        degrees = re.search(r"°[CFK]\.\Z", text)
        capitals = _is(text[-2:-1], CAPITAL) and _is(text[-3:-2], CAPITAL)
        return "." if _is(text[-2:-1], BEFORE_STOP) or degrees or capitals else ""
    ending = re.search(r"[0-9]([^0-9]+)\Z", text)
    if ending is None:
        return ""
    amount = ending.group(1)
    currency = amount in ("US$", "A$", "C$") or (len(amount) == 1 and _is(amount, OPENING) and amount not in "=§")
    return amount if currency or ENTRIES.get(amount, 0) & UNIT else ""


def _cut_within(text: str) -> list[str]:
    words: list[str] = []
    start = position = 0
    while position < len(text):
        mark = _cutting(text, position)
        if mark and position > start:
            words += [text[start:position], mark]
            start = position + len(mark)
        position += len(mark) or 1
    if not words or _is_address(text):
        return [text]
    return words + [text[start:]] * (start < len(text))


def _cutting(text: str, position: int) -> str:
    mark, before, behind = text[position], text[position - 1 : position], text[position + 1 : position + 2]
    if _is(mark, ANYWHERE):
        return mark
    dots = re.compile(r"\.\.+").match(text, position)
    if dots:
        return dots.group()
    if mark == ".":
        return "." if _is(before, SMALL | QUOTE) and _is(behind, CAPITAL | QUOTE) else ""
    lettered = _is(before, SMALL | CAPITAL)
    if mark == ",":
        return "," if lettered and _is(behind, SMALL | CAPITAL) else ""
    if before in DIGITS and mark in "+-*^" and behind in (*DIGITS, "-"):
        return mark
    if lettered or before in DIGITS:
        for joint in ("---", "--", "——", *"-–—~:<>=/"):
            if text.startswith(joint, position) and _is(text[position + len(joint) :][:1], SMALL | CAPITAL):
                return joint
    return ""


def _is_address(text: str) -> bool:
    starts = [text, re.sub(r"\A[A-Za-z0-9_.+-]+://(?=.)", "", text, flags=re.DOTALL)]
    starts += [text[place + 1 :] for place, character in enumerate(text) if character == "@" and place]
    return any(_starts_with_host(each) for each in starts)


def _starts_with_host(text: str) -> bool:
    found = re.fullmatch(r"([A-Za-z0-9_.\u0080-\uffff-]+)(:[0-9]{2,5})?([/?#].*)?", text, re.DOTALL)
    if found is None:
        return False
    *labels, last = found.group(1).split(".")
    if not labels or any(not label or label[0] in "-_" or label[-1] in "-_" for label in labels):
        return False
    return (len(last) >= 2 and all(_is(letter, SMALL) for letter in last)) or _is_public([*labels, last])


def _is_public(numbers: list[str]) -> bool:
    if len(numbers) != 4 or not all(re.fullmatch("[0-9]{1,3}", number) for number in numbers):
        return False
    a, b, c, d = map(int, numbers)
    private = a in (10, 127) or (a, b) in ((169, 254), (192, 168)) or (a == 172 and 16 <= b < 32)
    return not private and 1 <= a < 224 and b < 256 and c < 256 and 1 <= d < 255


def _joined(words: list[str]) -> list[str]:
    joined: list[str] = []
    while words:
        taken = next((n for n in range(5, 1, -1) if n <= len(words) and _is_joined(words[:n])), 1)
        joined.append("".join(words[:taken]))
        words = words[taken:]
    return joined


def _is_joined(words: list[str]) -> bool:
    return bool(ENTRIES.get("".join(words), 0) & JOINED)
