"""Metrics: counted right, scraped over HTTP by the standard parser and by a real Prometheus, pushed, and documented."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from torch.utils.data import DataLoader

from llm_assets.loader import TokenLoader, WorkerProcessError
from llm_assets.loader.cache import CacheSettings, open_cached
from llm_assets.loader.metrics import LoaderMetrics
from llm_assets.loader.source_tokens import SourceTokens
from llm_assets.store.folder import Folder
from llm_assets.store.shards.shard_set import ShardCorruptError, ShardSet, ShardSetError
from llm_assets.store.shards.writer import ShardSetWriter
from llm_assets_tests.end_to_end.servers import PROJECT, require, wait_for
from llm_assets_tests.loader.sets import LENGTH, write

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
PROGRAMS = {name: shutil.which(name) for name in ("prometheus", "promtool")}
ROWS_OF_TWO = 60


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[ShardSet, np.ndarray]:
    """A set of two sources in turns of ten rows, and the tokens of each row by source [rows, 2]."""
    random = np.random.default_rng(4)
    lengths = random.integers(1, LENGTH + 1, ROWS_OF_TWO)
    source = np.arange(ROWS_OF_TWO) // 10 % 2
    ids = np.where(np.arange(LENGTH) < lengths[:, None], random.integers(1, 100, (ROWS_OF_TWO, LENGTH)), 0)
    with ShardSetWriter(
        Folder(str(tmp_path_factory.mktemp("two"))),
        uuid.uuid4().hex,
        sequence_length=LENGTH,
        vocabulary_size=100,
        pad_id=0,
        tokenizer="t",
        sources=["docs", "code"],
        shard_bytes=2 * LENGTH * 10,
    ) as writer:
        writer.append(ids, np.arange(ROWS_OF_TWO + 1), lengths, source)
        shards = writer.finish().commit({})
    return shards, np.stack([np.where(source == each, lengths, 0) for each in (0, 1)], axis=1)


def scraped(metrics: LoaderMetrics) -> Samples:
    """What an HTTP scrape gives, by the text format's own parser."""
    with metrics.serve() as server, urllib.request.urlopen(server.url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return parsed(answer.read().decode())


def parsed(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def at(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_a_scrape_counts_what_was_delivered_to_the_rank(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10, rank=1, world_size=2)
    metrics = LoaderMetrics()
    assert len(list(islice(metrics.watch(loader, "docs@v1"), 4))) == 4
    samples, labels = scraped(metrics), {"rank": "1", "set": "docs@v1"}
    assert at(samples, "data_loader_throughput_sequences_total", **labels) == 20
    assert at(samples, "data_loader_batches_total", **labels) == 4
    assert at(samples, "data_loader_position_rows", **labels) == 40
    assert at(samples, "data_loader_latency_seconds_count", **labels) == 4
    assert at(samples, "data_loader_latency_seconds_bucket", **labels, le="+Inf") == 4
    waited = at(samples, "data_loader_stall_seconds_total", **labels)
    assert waited == pytest.approx(loader.stats().waited) and waited > 0
    assert at(samples, "data_loader_latency_seconds_sum", **labels) >= waited
    assert at(samples, "data_loader_errors_total", **labels, kind="ShardCorruptError") == 0
    assert not any(name.startswith("data_loader_cache") for name, _ in samples)


def test_tokens_by_source_are_those_of_the_rows(two_sources: tuple[ShardSet, np.ndarray]) -> None:
    shards, tokens = two_sources
    loader, metrics = TokenLoader(shards, batch_size=10, epochs=2), LoaderMetrics()
    batches = iter(metrics.watch(loader, "two"))
    for delivered in range(1, 13):
        next(batches)
        samples = scraped(metrics) if delivered in (1, 2, 7, 12) else None
        if samples:
            expected = np.concatenate([tokens, tokens])[: 10 * delivered].sum(axis=0)
            for source, number in zip(("docs", "code"), expected.tolist(), strict=True):
                found = at(samples, "data_loader_tokens_total", rank="0", set="two", source=source)
                assert found == pytest.approx(number)


def test_a_rank_watched_in_mid_run_counts_its_part_of_what_comes_after(
    two_sources: tuple[ShardSet, np.ndarray],
) -> None:
    shards, tokens = two_sources
    totals = np.zeros(2)
    for rank in range(2):
        loader, metrics = TokenLoader(shards, batch_size=10, rank=rank, world_size=2), LoaderMetrics()
        next(iter(loader))
        before = loader.stats().waited
        watched = iter(metrics.watch(loader, "two"))
        for _ in range(4):
            next(watched)
        samples, labels = scraped(metrics), {"rank": str(rank), "set": "two"}
        assert at(samples, "data_loader_throughput_sequences_total", **labels) == 20
        assert at(samples, "data_loader_batches_total", **labels) == 4
        stalled = at(samples, "data_loader_stall_seconds_total", **labels)
        assert stalled == pytest.approx(loader.stats().waited - before)
        totals += [at(samples, "data_loader_tokens_total", **labels, source=name) for name in ("docs", "code")]
    np.testing.assert_allclose(totals, tokens[10:50].sum(axis=0))


def test_ranges_of_tokens_add_up_whatever_the_length_of_the_rows(two_sources: tuple[ShardSet, np.ndarray]) -> None:
    shards, tokens = two_sources
    for division in (1, 3):
        epoch = ROWS_OF_TWO * division
        counts = SourceTokens(shards, epoch)
        ends = [0, 1, 7, epoch - 1, epoch, epoch + 13, 3 * epoch]
        parts = [counts.between(first, last) for first, last in pairwise(ends)]
        np.testing.assert_allclose(np.sum(parts, axis=0), 3 * tokens.sum(axis=0))
        assert (np.array(parts) >= 0).all()
        np.testing.assert_allclose(counts.between(0, 20 * division), tokens[:20].sum(axis=0))


def test_a_set_without_sources_has_tokens_of_no_source(shards: ShardSet) -> None:
    loader, metrics = TokenLoader(shards, batch_size=101), LoaderMetrics()
    list(metrics.watch(loader, "all"))
    found = at(scraped(metrics), "data_loader_tokens_total", rank="0", set="all", source="")
    assert found == pytest.approx(shards.index.tokens)


def test_several_loaders_share_a_registry(shards: ShardSet) -> None:
    registry = CollectorRegistry(auto_describe=True)
    metrics = LoaderMetrics(registry)
    train, held_out = (TokenLoader(shards, batch_size=5) for _ in range(2))
    watched = metrics.watch(train), metrics.watch(held_out, "held-out")
    next(iter(watched[1]))
    samples = scraped(metrics)
    assert at(samples, "data_loader_batches_total", rank="0", set=shards.digest[:12]) == 0
    assert at(samples, "data_loader_batches_total", rank="0", set="held-out") == 1
    with pytest.raises(ValueError, match="rank 0 and set 'held-out' is watched already"):
        metrics.watch(train, "held-out")
    with pytest.raises(ValueError, match="Duplicated"):
        LoaderMetrics(registry)
    metrics.close()
    LoaderMetrics(registry)


def test_what_iterating_raises_is_counted_and_raised(tmp_path: Path) -> None:
    shards = write(tmp_path, 30)
    for file in tmp_path.rglob("shard-*.arrow"):
        file.unlink()
    loader, metrics = TokenLoader(str(tmp_path), batch_size=5), LoaderMetrics()
    watched = metrics.watch(loader, "damaged")
    with pytest.raises(ShardSetError) as raised:
        next(iter(watched))
    labels = {"rank": "0", "set": "damaged"}
    samples = scraped(metrics)
    assert at(samples, "data_loader_errors_total", **labels, kind=type(raised.value).__name__) == 1
    assert at(samples, "data_loader_latency_seconds_count", **labels) == 0
    assert shards.rows == 30 and not issubclass(type(raised.value), ShardCorruptError)


def test_counters_of_a_cache_are_metrics(shards: ShardSet, tmp_path: Path) -> None:
    cached = open_cached(shards.folder, CacheSettings(tmp_path / "cache", 1 << 20))
    metrics = LoaderMetrics()
    list(metrics.watch(TokenLoader(cached, batch_size=10), "far"))
    samples, counters = scraped(metrics), cached.counters
    labels = {"rank": "0", "set": "far"}
    assert at(samples, "data_loader_cache_fetched_bytes_total", **labels) == counters.bytes_fetched > 0
    assert at(samples, "data_loader_cache_hits_total", **labels) == counters.hits > 0
    for name in ("misses", "retries", "quarantined", "stall_seconds"):
        assert at(samples, f"data_loader_cache_{name}_total", **labels) == getattr(counters, name)
    cached.close()


def test_a_torch_data_loader_goes_in_between(shards: ShardSet) -> None:
    loader, metrics = TokenLoader(shards, batch_size=10), LoaderMetrics()
    watched = metrics.watch(loader, "torch")
    assert len(list(watched.through(DataLoader(loader, batch_size=None)))) == 10
    assert at(scraped(metrics), "data_loader_latency_seconds_count", rank="0", set="torch") == 10


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_worker_process_is_refused_since_its_counts_are_not_known_here(shards: ShardSet) -> None:
    loader = TokenLoader(shards, batch_size=10)
    watched = LoaderMetrics().watch(loader, "worker")
    with pytest.raises(WorkerProcessError, match="num_workers=0"):
        list(watched.through(DataLoader(loader, batch_size=None, num_workers=1)))


def test_leaving_the_loop_closes_the_loader(shards: ShardSet) -> None:
    before = {thread.name for thread in threading.enumerate()}
    for _ in islice(LoaderMetrics().watch(TokenLoader(shards, batch_size=10, prefetch=2)), 3):
        pass

    def ended() -> bool | None:
        left = {thread.name for thread in threading.enumerate()} - before
        return None if any(name.startswith("token-loader") for name in left) else True

    wait_for("the thread of the loader to end", ended, 10, every=0.05)


def test_metrics_are_pushed_of_one_rank(shards: ShardSet) -> None:
    received: list[tuple[str, str, str]] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            received.append((self.command, self.path, body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    metrics = LoaderMetrics()
    with pytest.raises(ValueError, match="loaders of 0 ranks are watched"):
        metrics.push("127.0.0.1:1", "train")
    list(metrics.watch(TokenLoader(shards, batch_size=10, rank=3, world_size=5), "pushed"))
    with HTTPServer(("127.0.0.1", 0), Gateway) as gateway:
        threading.Thread(target=gateway.handle_request).start()
        metrics.push(f"127.0.0.1:{gateway.server_port}", "train", timeout_seconds=10)
    (method, path, body), labels = received[0], {"rank": "3", "set": "pushed"}
    assert (method, path) == ("PUT", "/metrics/job/train/rank/3")
    assert at(parsed(body), "data_loader_throughput_sequences_total", **labels) == 20
    with pytest.raises(urllib.error.URLError):
        metrics.push(f"127.0.0.1:{gateway.server_port}", "train", timeout_seconds=2)


def test_metrics_are_no_part_of_the_loader() -> None:
    code = "import sys, llm_assets.loader; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['prometheus_client'] = None; import llm_assets.loader.metrics"
    told = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stderr
    assert "pip install 'llm-assets[metrics]'" in told


def documented(name: str) -> str:
    """A file that the page shows, by its first line."""
    page = (PROJECT / "docs/loader-metrics.md").read_text()
    (found,) = re.findall(rf"```yaml\n# {re.escape(name)}\n(.*?)```", page, re.DOTALL)
    return found


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """The documented configuration as files; the path of the first."""
    (tmp_path / "loader-rules.yml").write_text(documented("loader-rules.yml"))
    config = tmp_path / "prometheus.yml"
    config.write_text(documented("prometheus.yml"))
    return config


def test_promtool_accepts_the_documented_configuration(configured: Path) -> None:
    promtool = require(PROGRAMS["promtool"], "promtool")
    result = subprocess.run(
        [promtool, "check", "config", str(configured)], capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "7 rules found" in result.stdout


def test_documented_rules_name_metrics_that_there_are(shards: ShardSet, tmp_path: Path) -> None:
    cached = open_cached(shards.folder, CacheSettings(tmp_path / "cache", 1 << 20))
    metrics = LoaderMetrics()
    list(metrics.watch(TokenLoader(cached, batch_size=10), "far"))
    there = {name for name, _ in scraped(metrics)}
    page = (PROJECT / "docs/loader-metrics.md").read_text()
    assert set(re.findall(r"data_loader_\w+", page)) - {"data_loader_cache_", "data_loader_latency_seconds"} <= there
    cached.close()


ALERT_TRIAL = """\
rule_files: [loader-rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'data_loader_stall_seconds_total{rank="0", set="a"}', values: '0+6x40'}
      - {series: 'data_loader_stall_seconds_total{rank="1", set="a"}', values: '0+0.6x40'}
      - {series: 'data_loader_batches_total{rank="0", set="a"}', values: '0+9x10 90x30'}
      - {series: 'data_loader_errors_total{rank="0", set="a", kind="ShardCorruptError"}', values: '0x20 1x20'}
    alert_rule_test:
      - eval_time: 25m
        alertname: LoaderStalls
        exp_alerts:
          - exp_labels: {severity: warning, rank: "0", set: a}
            exp_annotations: {summary: "Rank 0 spends 10% of its time waiting for batches of a."}
      - {eval_time: 14m, alertname: LoaderStopped, exp_alerts: []}
      - eval_time: 35m
        alertname: LoaderStopped
        exp_alerts:
          - exp_labels: {severity: critical, rank: "0", set: a}
            exp_annotations: {summary: "Rank 0 was given no batch of a for a quarter of an hour."}
      - {eval_time: 19m, alertname: LoaderErrors, exp_alerts: []}
      - eval_time: 25m
        alertname: LoaderErrors
        exp_alerts:
          - exp_labels: {severity: critical, rank: "0", set: a, kind: ShardCorruptError}
            exp_annotations: {summary: "ShardCorruptError on rank 0, reading a."}
"""


def test_documented_alerts_fire_when_they_should(configured: Path) -> None:
    promtool = require(PROGRAMS["promtool"], "promtool")
    trial = configured.parent / "trial.yml"
    trial.write_text(ALERT_TRIAL)
    result = subprocess.run(
        [promtool, "test", "rules", str(trial)], capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def prometheus(configured: Path, shards: ShardSet) -> Iterator[str]:
    """The URL of a Prometheus, configured as documented, that scrapes a loader which has delivered 4 batches."""
    program = require(PROGRAMS["prometheus"], "prometheus")
    metrics = LoaderMetrics()
    list(islice(metrics.watch(TokenLoader(shards, batch_size=10), "real"), 4))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        own = f"127.0.0.1:{listening.getsockname()[1]}"
    with metrics.serve() as server, (configured.parent / "log").open("w") as log:
        target = urllib.parse.urlsplit(server.url).netloc
        text = configured.read_text().replace('"node-0:9400", "node-0:9401"', f'"{target}"').replace("15s", "200ms")
        assert target in text and "200ms" in text
        configured.write_text(text)
        options = [f"--config.file={configured}", f"--web.listen-address={own}", f"--storage.tsdb.path={log.name}.db"]
        process = subprocess.Popen([program, *options], stdout=log, stderr=log)
        try:
            yield f"http://{own}"
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.slow
def test_a_real_prometheus_scrapes_it(prometheus: str) -> None:
    def value() -> float | None:
        query = urllib.parse.urlencode({"query": 'data_loader_throughput_sequences_total{set="real"}'})
        try:
            with urllib.request.urlopen(f"{prometheus}/api/v1/query?{query}", timeout=5) as answer:
                found = json.load(answer)["data"]["result"]
        except (urllib.error.URLError, ConnectionError):
            return None
        return float(found[0]["value"][1]) if found else None

    assert wait_for("Prometheus to have scraped the loader", value, 30, every=0.2) == 40
    with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=5) as answer:
        (group,) = json.load(answer)["data"]["groups"]
    assert [rule["health"] for rule in group["rules"]] in (["ok"] * 7, ["unknown"] * 7)
