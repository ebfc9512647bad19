"""Counts and waiting times of loaders for Prometheus. Needs the extra `metrics`.

Guarantees that nothing is served or sent unless asked for, and that the counts cost the training loop nothing: they
are read from `loader.stats()` at each scrape. Alerts are defined in Prometheus, not here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar, runtime_checkable

import numpy as np

from llm_assets.loader.fields import Batch
from llm_assets.loader.source_tokens import SourceTokens
from llm_assets.loader.workers import WorkerProcessError

if TYPE_CHECKING:
    from llm_assets.loader.token_loader import TokenLoader

try:
    from prometheus_client import CollectorRegistry, Counter, Histogram, push_to_gateway, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "prometheus_client is not installed, and metrics need it: pip install 'llm-assets[metrics]'", name=error.name
    ) from error

BatchT = TypeVar("BatchT")
OtherT = TypeVar("OtherT")

LABELS = ("rank", "set")
LATENCY_SECONDS = (1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)
"""Upper bounds of the buckets: from a batch that lay ready to a shard that had to be fetched and retried."""

KNOWN_ERRORS = ("ShardCorruptError", "ShardMissingError", "ShardTruncatedError", "ShardUnavailableError")
"""Errors counted from 0 on: a counter that appears with its first error would show no increase."""

_CACHE = {
    "hits": ("hits", "Reads answered from memory or the cache."),
    "misses": ("misses", "Reads that waited for a shard to be fetched."),
    "direct": ("direct_reads", "Reads past the cache, since it was full of shards in use."),
    "stall_seconds": ("stall_seconds", "Seconds that reads waited for the source."),
    "requests": ("requests", "Requests to the source."),
    "retries": ("retries", "Requests repeated after a failure."),
    "hedges": ("hedges", "Second requests for slow ones."),
    "bytes_fetched": ("fetched_bytes", "Bytes that came from the source."),
    "damaged": ("damaged_ranges", "Ranges that came with wrong bytes or too few."),
    "quarantined": ("quarantined", "Cached files that were damaged and moved aside."),
    "evicted": ("evicted", "Cached files that made room for others."),
    "tier_hits": ("tier_hits", "Ranges from Redis instead of the source."),
    "tier_failures": ("tier_failures", "Times that Redis did not answer."),
    "prefetched": ("prefetched", "Shards fetched before they were asked for."),
}
"""Counter of a cache → name and description of its metric."""


class CacheCounts(Protocol):
    """The counters of a cache by name, such as `llm_assets.loader.cache.CacheCounters`."""

    def as_dict(self) -> Mapping[str, float]:
        """All counters, read at one moment."""
        ...


@runtime_checkable
class _Cached(Protocol):
    @property
    def counters(self) -> CacheCounts: ...


class LoaderMetrics:
    """The metrics of all watched loaders, in the given registry or a new one.

    Every metric has the labels `rank` and `set`:

    - `data_loader_throughput_sequences_total`, `data_loader_batches_total`: rows and batches delivered to this rank.
    - `data_loader_tokens_total`: tokens delivered, without padding, also by `source`; see `SourceTokens`.
    - `data_loader_latency_seconds`: a histogram of how long the consumer waited for a batch.
    - `data_loader_stall_seconds_total`: the total of these waits.
    - `data_loader_errors_total`: exceptions raised by iteration, by `kind` (the name of the exception).
    - `data_loader_position_rows`: the position in the stream, over all ranks.
    - `data_loader_cache_…_total`: the counters of the set's cache in this process, if it has one.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._latency = Histogram(
            "data_loader_latency_seconds",
            "How long the consumer waited for a batch.",
            LABELS,
            buckets=LATENCY_SECONDS,
            registry=self.registry,
        )
        self._errors = Counter(
            "data_loader_errors", "Errors raised to the consumer.", (*LABELS, "kind"), registry=self.registry
        )
        self._collector = _Collector()
        self.registry.register(self._collector)

    def watch(
        self, loader: TokenLoader, name: str | None = None, cache: CacheCounts | None = None
    ) -> WatchedLoader[Batch]:
        """Count what a loader delivers from now on. Iterate over the result, so that waits and errors are counted too.

        `name` is the label `set`; the default is the first 12 digits of the set's digest. `cache` are the counters of
        its cache; the default is those of the set. Reads the table of shards. Raises ValueError where a loader of the
        same rank and name is watched already, and ShardSetError where the set is damaged.
        """
        name = loader.set.digest[:12] if name is None else name
        if cache is None and isinstance(loader.set, _Cached):
            cache = loader.set.counters
        labels = (str(loader.ranks.rank), name)
        self._collector.add(labels, _Counts(loader, cache))
        for kind in KNOWN_ERRORS:
            self._errors.labels(*labels, kind)
        return WatchedLoader(loader, loader, self._latency.labels(*labels), self._errors, labels)

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> MetricsServer:
        """Serve `http://host:port/metrics` from threads of this process; port 0 picks a free one.

        There is no authentication: anyone who reaches the address can read the metrics. Raises OSError where the port
        is taken.
        """
        server, thread = start_http_server(port, host, self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return MetricsServer(f"http://{host}:{server.server_port}/metrics", stop)

    def push(self, gateway: str, job: str, timeout_seconds: float = 30.0) -> None:
        """Replace the metrics of this job and rank on a push gateway: for runs too short to be scraped.

        Raises OSError where the gateway cannot be reached or refuses, and ValueError unless the watched loaders have
        one rank: each rank pushes for itself, under its own label.
        """
        ranks = {rank for rank, _ in self._collector.labels}
        if len(ranks) != 1:
            raise ValueError(
                f"loaders of {len(ranks)} ranks are watched: push from a `LoaderMetrics` with loaders of one rank"
            )
        push_to_gateway(gateway, job, self.registry, {"rank": ranks.pop()}, timeout_seconds)

    def close(self) -> None:
        """Unregister the metrics, so that another `LoaderMetrics` can use the registry."""
        for collector in (self._collector, self._latency, self._errors):
            self.registry.unregister(collector)


class MetricsServer:
    """Metrics being served at `url`, until it is closed."""

    def __init__(self, url: str, stop: Callable[[], None]) -> None:
        self.url = url
        self._stop = stop

    def close(self) -> None:
        """Stop serving."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class WatchedLoader(Generic[BatchT]):
    """Iterates like the loader, and records every wait and error: use `for batch in watched`."""

    def __init__(
        self,
        loader: TokenLoader,
        batches: Iterable[BatchT],
        latency: Histogram,
        errors: Counter,
        labels: tuple[str, str],
    ) -> None:
        self.loader = loader
        self._batches, self._latency, self._errors, self._labels = batches, latency, errors, labels

    def through(self, batches: Iterable[OtherT]) -> WatchedLoader[OtherT]:
        """Watch another iterable over the loader's batches: `watched.through(DataLoader(loader, batch_size=None))`.

        Iterating raises WorkerProcessError where a worker process delivers, since this process then counts nothing.
        """
        return WatchedLoader(self.loader, batches, self._latency, self._errors, self._labels)

    def __iter__(self) -> Iterator[BatchT]:
        before = self.loader.stats().batches
        first = True
        batches = self._timed_iterator()
        for batch in batches:
            if first and self.loader.stats().batches == before:
                raise WorkerProcessError(
                    "a worker process delivers, and the metrics of this one would stay 0: use num_workers=0"
                )
            first = False
            yield batch

    def _timed_iterator(self) -> Iterator[BatchT]:
        clock, batches = time.perf_counter, None
        while True:
            asked = clock()
            try:
                batches = iter(self._batches) if batches is None else batches
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:  # counted, then raised again
                self._errors.labels(*self._labels, type(error).__name__).inc()
                raise
            self._latency.observe(clock() - asked)
            yield batch


class _Counts:
    """Counts of one loader since it is watched."""

    def __init__(self, loader: TokenLoader, cache: CacheCounts | None) -> None:
        self.loader, self.cache = loader, cache
        self._by_source = SourceTokens(loader.set, loader.epoch_rows)
        self._tokens = np.zeros(len(self._by_source.sources))
        self._start = self.stats = loader.stats()
        self._updating = threading.Lock()

    def update(self) -> None:
        """Read the counts of this moment."""
        with self._updating:
            stats, position = self.loader.stats(), self.loader.position
            world = self.loader.ranks.world_size
            # All ranks together were given the rows up to the position: this one an even part of each step
            first = max(0, position - (stats.rows - self.stats.rows) * world)
            self._tokens += self._by_source.between(first, position) / world
            self.stats = stats

    @property
    def tokens(self) -> dict[str, float]:
        """Tokens delivered by source."""
        return dict(zip(self._by_source.sources, self._tokens.tolist(), strict=True))

    @property
    def delivered(self) -> tuple[int, int, float]:
        """Rows, batches, and seconds waited."""
        now, start = self.stats, self._start
        return now.rows - start.rows, now.batches - start.batches, now.waited - start.waited


class _Collector(Collector):
    """Collects the metrics of all watched loaders at each scrape."""

    def __init__(self) -> None:
        self._watched: dict[tuple[str, str], _Counts] = {}

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Rank and name of every watched loader."""
        return list(self._watched)

    def add(self, labels: tuple[str, str], counts: _Counts) -> None:
        if labels in self._watched:
            raise ValueError(f"a loader of rank {labels[0]} and set {labels[1]!r} is watched already: name this one")
        self._watched[labels] = counts

    def collect(self) -> Iterator[Metric]:
        """Yield a family for each metric."""
        rows = _counter("data_loader_throughput_sequences", "Rows delivered to this rank.")
        batches = _counter("data_loader_batches", "Batches delivered to this rank.")
        stall = _counter("data_loader_stall_seconds", "Seconds that the consumer waited for batches.")
        tokens = _counter("data_loader_tokens", "Tokens delivered to this rank, without padding.", "source")
        position = GaugeMetricFamily("data_loader_position_rows", "Rows delivered, over all ranks.", labels=LABELS)
        cache = {key: _counter(f"data_loader_cache_{name}", what) for key, (name, what) in _CACHE.items()}
        for labels, counts in list(self._watched.items()):
            counts.update()
            for family, value in zip((rows, batches, stall), counts.delivered, strict=True):
                family.add_metric(labels, value)
            position.add_metric(labels, counts.loader.position)
            for source, number in counts.tokens.items():
                tokens.add_metric((*labels, source), number)
            for key, value in (counts.cache.as_dict() if counts.cache else {}).items():
                if key in cache:
                    cache[key].add_metric(labels, value)
        yield from (rows, batches, stall, tokens, position)
        yield from (family for family in cache.values() if family.samples)


def _counter(name: str, what: str, *more_labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, what, labels=(*LABELS, *more_labels))
