"""A landing snapshot with one file for every kind of bad input, and what a reader must make of each.

Guarantees that every good record is a distinct paragraph of plain English of at least 80 words, that the same bytes
are written every time, and that each bad thing has exactly one error to be counted under. For tests only.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import zstandard

from llm_assets.store.folder import Folder

NEIGHBOURS = 3

VOCABULARY = {
    "adjective": "old quiet small careful distant early narrow bright patient hidden common heavy gentle northern "
    "sudden simple public honest empty modern winter young broad famous familiar useful different private single local",
    "determiner": "the this every our that another one their",
    "link": "because although while before after until whenever since",
    "noun": "river garden teacher village engine letter market forest window doctor bridge library station farmer "
    "harbour kitchen painter valley museum captain factory meadow journal orchard baker island student mountain "
    "cottage council theatre builder railway neighbour soldier history question answer picture morning",
    "place": "near_the_water at_the_end_of_the_road with_a_great_deal_of_care in_the_middle_of_the_night "
    "on_the_other_side for_many_years without_saying_a_word under_an_open_sky to_the_surprise_of_everyone "
    "as_people_often_do by_the_light_of_a_lamp along_the_coast in_spite_of_the_weather from_the_first_day "
    "with_some_of_their_friends during_the_long_summer behind_the_church at_a_fair_price",
    "verb": "described followed visited repaired remembered crossed measured carried noticed changed opened studied "
    "painted promised collected explained answered examined protected welcomed imagined prepared",
}
CHOICES = {part: [word.replace("_", " ") for word in words.split()] for part, words in VOCABULARY.items()}

# A clause needs two determiners, so these are too few to be used once only.
REPEATABLE = "determiner"


class _Words:
    """Words by part of speech, in an order that depends on a number alone; each but a determiner at most once."""

    def __init__(self, number: int) -> None:
        self._number, self._drawn = number, 0
        self._left = {part: list(words) for part, words in CHOICES.items()}

    def __call__(self, part: str) -> str:
        digest = hashlib.blake2b(f"{self._number}/{self._drawn}".encode(), digest_size=8).digest()
        self._drawn += 1
        words = self._left[part]
        index = int.from_bytes(digest, "big") % len(words)
        return words[index] if part == REPEATABLE else words.pop(index)

    def clause(self) -> str:
        subject = f"{self('determiner')} {self('adjective')} {self('noun')}"
        return f"{subject} {self('verb')} {self('determiner')} {self('noun')} {self('place')}"


def paragraph(number: int) -> str:
    """An English paragraph of 80 to 110 words, another for every number."""
    words = _Words(number)
    sentences: list[str] = []
    while sum(len(sentence.split()) for sentence in sentences) < 80:
        sentence = f"{words.clause()} {words('link')} {words.clause()}"
        sentences.append(f"{sentence[0].upper()}{sentence[1:]}.")
    return " ".join(sentences)


@dataclass
class _Planter:
    """Writes files into a folder and counts what they hold."""

    folder: Folder
    expected: Counter[str]

    def good(self) -> bytes:
        number = self.expected["good"]
        self.expected["good"] += 1
        return json.dumps({"id": f"good-{number:04}", "text": paragraph(number)}).encode() + b"\n"

    def neighbours(self) -> bytes:
        return b"".join(self.good() for _ in range(NEIGHBOURS))

    def lines(self, error: str, bad: Iterable[bytes]) -> None:
        """A jsonl file in which every bad line stands between good ones."""
        content = self.neighbours()
        for line in bad:
            content += line + b"\n" + self.neighbours()
            self.expected[error] += 1
        self.file(f"bad-{error}.jsonl", content)

    def whole(self, error: str, name: str, content: bytes) -> None:
        """A file of which no record can be read, or not all: one error."""
        self.expected[error] += 1
        self.file(name, content)

    def file(self, name: str, content: bytes) -> None:
        with self.folder.create(name) as file:
            file.write(content)


def _last_record() -> bytes:
    """A record too long to survive when the end of its file is cut off. Not counted as good."""
    text = " ".join(paragraph(1_000_000 + number) for number in range(40))
    return json.dumps({"id": "cut-off", "text": text}).encode() + b"\n"


def _cut_gz(readable: bytes) -> bytes:
    """A gzip file cut in the middle of its last record; everything readable comes before the cut."""
    compressor = zlib.compressobj(wbits=31)
    head = compressor.compress(readable) + compressor.flush(zlib.Z_SYNC_FLUSH)
    tail = compressor.compress(_last_record()) + compressor.flush()
    return head + tail[: len(tail) // 2]


def _cut_zst(readable: bytes) -> bytes:
    """A Zstandard file of one frame, cut in the middle of its last block, which holds the last record."""
    compressor = zstandard.ZstdCompressor().compressobj()
    head = compressor.compress(readable) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    tail = compressor.compress(_last_record()) + compressor.flush()
    return head + tail[: len(tail) // 2]


def plant_bad_files(folder: Folder) -> dict[str, int]:
    """Write a file for every kind of bad input, and two good files beside them; `_SUCCESS` is the caller's.

    Gives how many records must be read (`good`) and how many entries of quarantine each error must have: one for
    every bad line, one for every file that is bad as a whole, and one for the cut-off end of a truncated file, of
    which the records before the cut are good. What of a cut-off record can still be decoded is part of that entry.
    """
    planter = _Planter(folder, Counter())
    text = json.dumps(paragraph(2_000_000)).encode()
    planter.file("good.jsonl", planter.neighbours())
    planter.file("good.jsonl.gz", gzip.compress(planter.neighbours(), mtime=0))
    planter.lines("malformed_json", [b'{"id": "bad", "text": ' + text, b"not json at all", b'{"text": ' + text + b",}"])
    planter.lines("not_an_object", [b"[" + text + b"]", b"42", text])
    planter.lines(
        "invalid_utf8",
        [b'{"id": "bad", "text": "caf\xe9 and more"}', b'{"id": "bad", "text": "\xe2\x82"}', b"\xff\xfe\x00 {}"],
    )
    planter.lines("lone_surrogate", [rb'{"text": "half \ud83d of a pair"}', rb'{"text": "other \ude00 half"}'])
    planter.lines("missing_text", [b'{"id": "bad", "body": ' + text + b"}", b"{}"])
    planter.lines(
        "text_not_string", [b'{"text": 42}', b'{"text": [' + text + b"]}", b'{"text": {"en": ' + text + b"}}"]
    )
    planter.lines("empty_document", [b'{"id": "bad", "text": ""}'])
    planter.whole("truncated_file", "bad-truncated.jsonl.gz", _cut_gz(planter.neighbours()))
    planter.whole("truncated_file", "bad-truncated.jsonl.zst", _cut_zst(planter.neighbours()))
    planter.whole("wrong_format", "bad-not-gzip.jsonl.gz", b"This is not what gzip writes.\n" * 20)
    planter.whole("wrong_format", "bad-not-parquet.parquet", b"This is not what Parquet looks like.\n" * 20)
    planter.whole("empty_file", "bad-empty.jsonl", b"")
    planter.whole("unknown_format", "bad-unknown.docx", b"PK\x03\x04" + bytes(range(256)))
    return dict(planter.expected)
