"""Fetches byte ranges of a file from the source: with retries, hedged requests and a deadline.

Guarantees that a fetch ends either when `receive` has accepted all bytes, or by its deadline with one error that names
the file and the last cause. `receive` checks the bytes and stores them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast
from weakref import WeakSet

import fsspec.asyn
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay, wait_random_exponential

from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.loader.cache.errors import ShardUnavailableError
from llm_assets.loader.cache.settings import FetchSettings
from llm_assets.store.folder import Folder
from llm_assets.store.shards.shard_set import (
    IndexMalformedError,
    ShardCorruptError,
    ShardMissingError,
    ShardTruncatedError,
)

_KNOWN_ENOUGH = 32
"""Answers needed before their quantile decides what is slow."""
_SOONEST_HEDGE = 0.05
"""Seconds: hedging sooner costs more than it gains."""
_FREE_HEDGES = 8
_CAUSES_TOLD = 3
_GRACE_SECONDS = 2.0
"""Time that the event loop has after the deadline to report it."""

_BUGS = (TypeError, AttributeError, NotImplementedError, ImportError)
_DAMAGE = (ShardCorruptError, ShardTruncatedError, IndexMalformedError)

Receive = Callable[[int, bytes], None]
"""Takes the bytes of a file from an offset on. Raises one of `_DAMAGE` for wrong bytes, to have them fetched again."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class ByteRange:
    """Bytes `start` to `stop` (exclusive) of a file."""

    start: int
    stop: int


_WHOLE = ByteRange(0, -1)
"""The whole file, whatever its length."""


@dataclass(frozen=True)
class _Arrival:
    """Bytes passed from the event loop to the waiting thread, and a future for whether it accepted them."""

    start: int
    data: bytes
    received: asyncio.Future[None]

    def hand_to(self, receive: Receive) -> None:
        """Pass the bytes to `receive`, in the waiting thread, and report damage to the event loop."""
        damage: Exception | None = None
        try:
            receive(self.start, self.data)
        except _DAMAGE as error:
            damage = error
        self.received.get_loop().call_soon_threadsafe(self._tell, damage)

    def _tell(self, damage: Exception | None) -> None:
        if self.received.done():  # cancelled
            return
        if damage is None:
            self.received.set_result(None)
        else:
            self.received.set_exception(damage)


class _FailedError(Exception):
    """A failed attempt that may be retried; its cause is the error."""


class Fetcher:
    """Fetches files of one folder. Thread-safe; not for use across a fork."""

    def __init__(self, folder: Folder, settings: FetchSettings, counters: CacheCounters) -> None:
        self._folder = folder
        self._filesystem = _without_retries(folder.filesystem)
        self._settings = settings
        self._counters = counters
        self._took: deque[float] = deque(maxlen=256)
        self._waiting: dict[threading.Thread, Future[None]] = {}
        self._cancelled: WeakSet[threading.Thread] = WeakSet()

    def whole(self, file: str, parse: Callable[[bytes], Result], until: float) -> Result:
        """Fetch and parse a small file. Raises ShardMissingError, ShardUnavailableError, and what `parse` raises."""
        parsed: list[Result] = []
        self.ranges(file, [_WHOLE], lambda _, data: parsed.append(parse(data)), until)
        return parsed[-1]

    def ranges(self, file: str, ranges: Sequence[ByteRange], receive: Receive, until: float) -> None:
        """Fetch ranges of a file concurrently and pass each to `receive`, in this thread, in any order.

        Raises ShardMissingError, ShardUnavailableError, what `receive` raises where bytes stay damaged, and
        CancelledError (of concurrent.futures) after `cancel`.
        """
        loop = self._filesystem.loop if self._filesystem.async_impl else fsspec.asyn.get_loop()
        arrived: SimpleQueue[_Arrival | None] = SimpleQueue()
        future = asyncio.run_coroutine_threadsafe(self._all(file, ranges, arrived, until), loop)
        future.add_done_callback(lambda _: arrived.put(None))
        thread = threading.current_thread()
        self._waiting[thread] = future
        if thread in self._cancelled:  # looked up once `cancel` can see the fetch, so that none is missed
            future.cancel()
        try:
            while (arrival := arrived.get(timeout=max(0.0, until - time.monotonic()) + _GRACE_SECONDS)) is not None:
                arrival.hand_to(receive)
            future.result()
        except Empty as error:
            raise ShardUnavailableError(self._uri(file), "cannot be fetched: the event loop is blocked") from error
        finally:
            future.cancel()
            del self._waiting[thread]

    def cancel(self, thread: threading.Thread) -> None:
        """Cancel the thread's current fetch and all its later ones."""
        self._cancelled.add(thread)
        future = self._waiting.get(thread)
        if future is not None:
            future.cancel()

    async def _all(
        self, file: str, ranges: Sequence[ByteRange], arrived: SimpleQueue[_Arrival | None], until: float
    ) -> None:
        await self._connect(file, until)
        gate = asyncio.Semaphore(self._settings.connections)

        async def one(wanted: ByteRange) -> None:
            async with gate:
                await self._one(file, wanted, arrived, until)

        tasks = [asyncio.ensure_future(one(wanted)) for wanted in ranges]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _connect(self, file: str, until: float) -> None:
        """Create the client first, where the filesystem allows it: fetching credentials must not use up an attempt."""
        connect = getattr(self._filesystem, "set_session", None)
        if connect is not None:
            try:
                await asyncio.wait_for(connect(), until - time.monotonic())
            except TimeoutError as error:
                raise ShardUnavailableError(
                    self._uri(file), "cannot be fetched: connecting took longer than the deadline"
                ) from error

    async def _one(self, file: str, wanted: ByteRange, arrived: SimpleQueue[_Arrival | None], until: float) -> None:
        began = time.monotonic()
        damaged = 0
        causes: list[BaseException | None] = []

        async def attempt() -> None:
            nonlocal damaged
            try:
                data = await self._hedged(file, wanted, until)
            except _FailedError as failed:
                causes.append(failed.__cause__)
                raise
            try:
                await self._receive(file, wanted, data, arrived)
            except _DAMAGE as error:
                causes.append(error)
                damaged += 1
                self._counters.add(damaged=1)
                if damaged == self._settings.damaged_attempts:
                    raise
                raise _FailedError from error

        try:
            await self._retrying(until - began)(attempt)
        except _FailedError as failed:
            spent = f"{len(causes)} attempts in {time.monotonic() - began:.1f} s"
            raise ShardUnavailableError(
                self._uri(file), f"cannot be fetched ({spent}): {_told(causes)}"
            ) from failed.__cause__

    def _retrying(self, seconds: float) -> AsyncRetrying:
        def count(_: RetryCallState) -> None:
            self._counters.add(retries=1)

        settings = self._settings
        return AsyncRetrying(
            retry=retry_if_exception_type(_FailedError),
            wait=wait_random_exponential(multiplier=settings.backoff_seconds, max=settings.backoff_most_seconds),
            stop=stop_before_delay(max(0.0, seconds)),
            before_sleep=count,
            reraise=True,
        )

    async def _receive(self, file: str, wanted: ByteRange, data: bytes, arrived: SimpleQueue[_Arrival | None]) -> None:
        self._counters.add(bytes_fetched=len(data))
        if wanted is not _WHOLE and len(data) != wanted.stop - wanted.start:
            problem = f"bytes {wanted.start} to {wanted.stop} were asked for, {len(data)} came"
            raise ShardTruncatedError(self._uri(file), problem)
        arrival = _Arrival(wanted.start, data, asyncio.get_running_loop().create_future())
        arrived.put(arrival)
        await arrival.received

    async def _hedged(self, file: str, wanted: ByteRange, until: float) -> bytes:
        """One attempt: a request, and a second one if the first is slow. Raises _FailedError."""
        began = time.monotonic()
        last = min(until, began + self._settings.attempt_seconds)
        tasks = {self._request(file, wanted)}
        hedge: asyncio.Task[bytes] | None = None
        try:
            slow = min(last, began + self._slow_after())
            while True:
                done, _ = await asyncio.wait(
                    tasks, timeout=max(0.0, slow - time.monotonic()), return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if _error_of(task) is None:
                        self._took.append(time.monotonic() - began)
                        self._counters.add(hedges_won=task is hedge)
                        return task.result()
                tasks -= done
                if done and not tasks:
                    raise self._failure(file, _error_of(next(iter(done))))
                if time.monotonic() >= last:
                    raise _FailedError from TimeoutError(f"no answer within {time.monotonic() - began:.1f} s")
                if not done and self._may_hedge():
                    self._counters.add(hedges=1)
                    hedge = self._request(file, wanted)
                    tasks.add(hedge)
                slow = last
        finally:
            for task in tasks:
                task.cancel()

    def _request(self, file: str, wanted: ByteRange) -> asyncio.Task[bytes]:
        filesystem, path = self._filesystem, f"{self._folder.path}/{file}"
        start, stop = (None, None) if wanted is _WHOLE else (wanted.start, wanted.stop)
        answer: Awaitable[bytes]
        if filesystem.async_impl:
            answer = filesystem._cat_file(path, start=start, end=stop)
        else:
            answer = asyncio.to_thread(filesystem.cat_file, path, start, stop)
        self._counters.add(requests=1)
        task = asyncio.ensure_future(cast("Coroutine[Any, Any, bytes]", answer))
        task.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # marks its error as retrieved, also where nobody waits for it
        return task

    def _failure(self, file: str, cause: BaseException | None) -> Exception:
        if isinstance(cause, FileNotFoundError):
            error = ShardMissingError(self._uri(file), "it is not there")
        elif isinstance(cause, PermissionError):
            error = ShardUnavailableError(self._uri(file), f"cannot be fetched: {cause}")
        elif isinstance(cause, _BUGS):
            return cause
        else:
            error = _FailedError()
        error.__cause__ = cause
        return error

    def _slow_after(self) -> float:
        """Seconds after which a request counts as slow."""
        if len(self._took) < _KNOWN_ENOUGH:
            return self._settings.hedge_seconds
        took = sorted(self._took)
        return max(_SOONEST_HEDGE, took[int(self._settings.hedge_quantile * len(took))])

    def _may_hedge(self) -> bool:
        allowed = _FREE_HEDGES + self._settings.hedge_share * self._counters.requests
        return self._settings.hedge_share > 0 and self._counters.hedges < allowed

    def _uri(self, file: str) -> str:
        return f"{self._folder.uri}/{file}"


def _error_of(task: asyncio.Task[bytes]) -> BaseException | None:
    """The error of a finished request, or None. A client may have cancelled its own request."""
    return ConnectionAbortedError("the request was cancelled") if task.cancelled() else task.exception()


def _told(causes: Sequence[BaseException | None]) -> str:
    """The last few distinct causes, latest first: the very last may only be the deadline that cut an attempt short."""
    told = [f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__ for cause in causes]
    return "; before that: ".join([*dict.fromkeys(reversed(told))][:_CAUSES_TOLD])


def _without_retries(filesystem: Any) -> Any:
    """An S3 client with retries turned off, since `Fetcher` retries itself; any other filesystem unchanged.

    By default s3fs tries a request five times and botocore each of those five times, with unbounded pauses. That hides
    a failure and its cause until the attempt times out.
    """
    if "s3" not in filesystem.protocol:
        return filesystem
    options = dict(filesystem.storage_options)
    config = {"retries": {"total_max_attempts": 1}} | dict(options.pop("config_kwargs", None) or {})
    client = type(filesystem)(*filesystem.storage_args, **options, config_kwargs=config, skip_instance_cache=True)
    client.retries = 1
    return client
