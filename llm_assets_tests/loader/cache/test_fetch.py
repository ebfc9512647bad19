"""Requests that fail, hang and lie: which are repeated, which are doubled, and when it is over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem

from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.errors import ShardUnavailableError
from llm_assets.loader.cache.fetch import ByteRange, Fetcher
from llm_assets.loader.cache.settings import FetchSettings
from llm_assets.store.folder import Folder
from llm_assets.store.shards.shard_set import ShardCorruptError, ShardMissingError, ShardTruncatedError

DATA = bytes(range(100))
SETTINGS = FetchSettings(
    deadline_seconds=1, attempt_seconds=0.4, backoff_seconds=0.01, backoff_most_seconds=0.02, hedge_seconds=0.1
)
Answer = Exception | float | bytes | None
"""An error, seconds after which the right answer comes, a wrong answer, or the right one at once."""


class ScriptedFiles(AsyncFileSystem):
    """Files whose requests go as `answers` says, one after the other, then right."""

    protocol = "scripted"
    cachable = False
    answers: Iterator[Answer] = iter(())
    running = most = cancelled = 0

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        answer = next(ScriptedFiles.answers, None)
        ScriptedFiles.running += 1
        ScriptedFiles.most = max(ScriptedFiles.most, ScriptedFiles.running)
        try:
            await asyncio.sleep(answer if isinstance(answer, float) else 0)
        except asyncio.CancelledError:
            ScriptedFiles.cancelled += 1
            raise
        finally:
            ScriptedFiles.running -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else DATA[start:end]


fsspec.register_implementation("scripted", ScriptedFiles, clobber=True)


@pytest.fixture
def counters() -> CacheCounters:
    return CacheCounters()


Fetch = Callable[..., bytes]


@pytest.fixture
def fetch(counters: CacheCounters) -> Fetch:
    def fetch(*answers: Answer, size: int = 10, ranges: int = 1, **settings: Any) -> bytes:
        ScriptedFiles.answers = iter(answers)
        ScriptedFiles.running = ScriptedFiles.most = ScriptedFiles.cancelled = 0
        chosen = replace(SETTINGS, **settings)
        fetcher = Fetcher(Folder("scripted://set"), chosen, counters)
        got = bytearray(size * ranges)

        def receive(start: int, data: bytes) -> None:
            if data != DATA[start : start + size]:
                raise ShardCorruptError("file", "wrong bytes")
            got[start : start + size] = data

        wanted = [ByteRange(place * size, (place + 1) * size) for place in range(ranges)]
        fetcher.ranges("file", wanted, receive, time.monotonic() + chosen.deadline_seconds)
        return bytes(got)

    return fetch


def test_what_may_pass_is_repeated(fetch: Fetch, counters: CacheCounters) -> None:
    assert fetch(OSError("busy"), ConnectionResetError(), ValueError("not xml"), b"short", b"wrong byte") == DATA[:10]
    assert (counters.requests, counters.retries, counters.damaged, counters.hedges) == (6, 5, 2, 0)
    assert counters.bytes_fetched == 5 + 10 + 10


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (FileNotFoundError("x"), ShardMissingError),
        (PermissionError("no"), ShardUnavailableError),
        (TypeError(), TypeError),
    ],
)
def test_what_will_not_pass_is_raised_at_once(
    answer: Exception, error: type[Exception], fetch: Fetch, counters: CacheCounters
) -> None:
    with pytest.raises(error) as raised:
        fetch(answer, deadline_seconds=60)
    assert counters.requests == 1
    assert raised.value is answer or "set/file" in str(raised.value)


def test_bytes_that_stay_wrong(fetch: Fetch, counters: CacheCounters) -> None:
    with pytest.raises(ShardCorruptError, match="wrong bytes"):
        fetch(*[b"0123456789"] * 9)
    assert counters.requests == SETTINGS.damaged_attempts
    with pytest.raises(ShardTruncatedError, match=r"set/file: bytes 0 to 10 were asked for, 3 came"):
        fetch(*[b"012"] * 9)


def test_a_slow_request_is_made_twice(fetch: Fetch, counters: CacheCounters) -> None:
    began = time.monotonic()
    assert fetch(0.39) == DATA[:10]
    assert 0.1 <= time.monotonic() - began < 0.35
    assert (counters.requests, counters.hedges, counters.hedges_won, counters.retries) == (2, 1, 1, 0)
    assert ScriptedFiles.cancelled == 1


def test_the_first_of_two_may_still_win_or_fail(fetch: Fetch, counters: CacheCounters) -> None:
    assert fetch(0.2, 0.3) == DATA[:10]
    assert (counters.hedges, counters.hedges_won) == (1, 0)
    assert fetch(0.2, OSError("second one")) == DATA[:10]
    assert (counters.hedges, counters.retries) == (2, 0)


def test_what_is_slow_is_learned(counters: CacheCounters) -> None:
    ScriptedFiles.answers = iter([None] * 40 + [0.4])
    fetcher = Fetcher(Folder("scripted://set"), replace(SETTINGS, hedge_seconds=0.39), counters)
    began = time.monotonic()
    for _ in range(41):
        fetcher.ranges("file", [ByteRange(0, 10)], lambda start, data: None, time.monotonic() + 1)
    assert time.monotonic() - began < 0.3
    assert counters.hedges_won == 1


def test_a_source_slow_as_a_whole_is_not_asked_for_twice_the_work(fetch: Fetch, counters: CacheCounters) -> None:
    fetch(*[0.15] * 1000, ranges=10, connections=10, hedge_share=0.0)
    assert counters.hedges == 0
    for _ in range(5):
        fetch(*[0.15] * 1000, ranges=10, connections=10)
    assert 8 <= counters.hedges <= 8 + 0.1 * counters.requests + 1


def test_so_many_at_a_time(fetch: Fetch) -> None:
    assert fetch(*[0.02] * 10, ranges=10, connections=3) == DATA
    assert ScriptedFiles.most == 3


def test_the_deadline(fetch: Fetch, counters: CacheCounters) -> None:
    began = time.monotonic()
    with pytest.raises(
        ShardUnavailableError, match=r"set/file: cannot be fetched \(\d attempts in .*no answer within 0\.\d s"
    ):
        fetch(*[30.0] * 99, ranges=10)
    assert 0.5 < time.monotonic() - began < 1.3
    time.sleep(0.05)
    assert ScriptedFiles.running == 0
    with pytest.raises(ShardUnavailableError, match="OSError: busy"):
        fetch(*[OSError("busy")] * 999)
    with pytest.raises(ShardUnavailableError, match=r"TimeoutError: .*; before that: OSError: busy$"):
        fetch(OSError("busy"), *[30.0] * 99)


def test_an_error_ends_the_other_ranges(fetch: Fetch) -> None:
    began = time.monotonic()
    with pytest.raises(ShardMissingError):
        fetch(30.0, 30.0, FileNotFoundError(), ranges=3, hedge_share=0.0)
    while ScriptedFiles.running and time.monotonic() - began < 20:
        time.sleep(0.01)
    assert time.monotonic() - began < 20 and ScriptedFiles.running == 0


def test_whole_files(counters: CacheCounters) -> None:
    ScriptedFiles.answers = iter([b"torn", OSError()])
    fetcher = Fetcher(Folder("scripted://set"), SETTINGS, counters)

    def parse(data: bytes) -> int:
        if data != DATA:
            raise ShardCorruptError("file", "torn")
        return len(data)

    assert fetcher.whole("file", parse, time.monotonic() + 1) == 100
    assert counters.retries == 2


@pytest.mark.parametrize("early", [False, True])
def test_the_fetch_of_a_thread_is_cancelled(early: bool, counters: CacheCounters) -> None:
    ScriptedFiles.answers = iter([None] if early else [30.0, None])
    fetcher = Fetcher(Folder("scripted:///set"), replace(SETTINGS, hedge_share=0, attempt_seconds=30), counters)
    ended: list[str] = []

    def fetch() -> None:
        try:
            fetcher.ranges("a", [ByteRange(0, 5)], lambda start, data: None, time.monotonic() + 30)
        except CancelledError:
            ended.append("cancelled")

    thread = threading.Thread(target=fetch)
    if early:  # it may be about to begin
        fetcher.cancel(thread)
    thread.start()
    if early:
        thread.join(5)
    while not (early or ScriptedFiles.running):
        time.sleep(0.01)
    got: list[bytes] = []
    fetcher.ranges("b", [ByteRange(0, 5)], lambda start, data: got.append(data), time.monotonic() + 5)
    assert got == [DATA[:5]] and thread.is_alive() is not early
    fetcher.cancel(thread)
    thread.join(5)
    assert ended == ["cancelled"]
