from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import fsspec.config
import pytest

from llm_assets.store.shards import writer as shard_writer
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.loader.cache.ceph import ceph_server, is_installed
from llm_assets_tests.loader.cache.servers import CREDENTIALS, FaultyProxy, S3Server, faulty_proxy, moto_server
from llm_assets_tests.loader.sets import write

BLOCK = 256


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardSet:
    """Ten shards of four blocks or more each."""
    monkeypatch.setattr(shard_writer, "BLOCK_BYTES", BLOCK)
    return write(tmp_path / "source", 300, shard_rows=31)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3Server]:
    """Ceph's gateway where it is installed, else moto; LLM_ASSETS_TEST_S3 is "ceph" or "moto" to have it so."""
    chosen = os.environ.get("LLM_ASSETS_TEST_S3", "ceph" if is_installed() else "moto")
    start = {"ceph": ceph_server, "moto": moto_server}[chosen]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with start(tmp_path_factory.mktemp("s3") / "server") as server:
            print(f"\nS3 server: {server.name}")
            yield server


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Generator[FaultyProxy]:
    """A proxy through which this process reaches the S3 server."""
    with faulty_proxy(s3.port) as proxy:
        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": proxy.url})
        yield proxy
