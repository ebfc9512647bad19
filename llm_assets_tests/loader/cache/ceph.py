"""A Ceph object gateway on this machine: one monitor, one OSD that keeps all in memory, and `radosgw` before them.

Guarantees that it lives in its own folder and on its own ports of the loopback interface, and ends with the context.
Debian: `apt-get install --no-install-recommends ceph-mon ceph-osd radosgw`. No manager is needed, nor root.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from llm_assets_tests.loader.cache.servers import CREDENTIALS, S3Server, free_port, stopped_at_the_end, wait_for

_PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_SECONDS = 60
"""In which it comes up, or does not; it takes two or three."""
_CONFIGURATION = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/run
run dir = {folder}/run
log file = {folder}/run/$name.log
crash dir = {folder}/run
admin socket =
pid file =
osd objectstore = memstore
memstore device bytes = 1073741824
mon allow pool size one = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon data avail warn = 1
mon data avail crit = 0
paxos propose interval = 0.05
paxos min wait = 0.02
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 32
rgw run sync thread = false
rgw enable gc threads = false
rgw enable lc threads = false
"""


def is_installed() -> bool:
    """Whether all its programs are here."""
    return all(shutil.which(program) for program in _PROGRAMS)


@contextmanager
def ceph_server(folder: Path) -> Generator[S3Server]:
    """A gateway with one bucket, for the user of CREDENTIALS. `folder` must not be there yet.

    Raises CalledProcessError, AssertionError or TimeoutError where it does not come up; logs are in `folder`.
    """
    for name in ("mon", "osd", "run"):
        (folder / name).mkdir(parents=True)
    server, cluster = S3Server(free_port()), _Cluster(folder)
    server = replace(server, name=f"Ceph RGW {cluster.run('radosgw', '--version').split()[2]}")
    fsid, mon_port = str(uuid.uuid4()), free_port()
    configuration = _CONFIGURATION.format(folder=folder, fsid=fsid, mon_port=mon_port, port=server.port)
    (folder / "ceph.conf").write_text(configuration)
    cluster.make_keys()
    monmap = str(folder / "monmap")
    cluster.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", monmap)
    with ExitStack() as running:
        cluster.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        running.enter_context(cluster.running("ceph-mon", "-i", "a"))
        osd = str(uuid.uuid4())
        cluster.run("ceph", "osd", "new", osd)
        cluster.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        running.enter_context(cluster.running("ceph-osd", "-i", "0"))
        gateway = running.enter_context(cluster.running("radosgw", "-n", "client.admin"))
        wait_for(server.port, gateway, _SECONDS)
        key, secret = CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
        user = ("--uid", "test", "--display-name", "test", "--access-key", key, "--secret-key", secret)
        cluster.run("radosgw-admin", "user", "create", *user)
        server.client().create_bucket(Bucket=server.bucket)
        yield server


class _Cluster:
    """Programs run for the cluster in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, program: str, *arguments: str) -> str:
        """What it prints. Raises CalledProcessError, TimeoutExpired."""
        command = self._command(program, *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, program: str, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
        with (self._folder / f"{program}.out").open("wb") as out:
            command = self._command(program, *arguments, "-f")
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        with stopped_at_the_end(process):
            yield process

    def make_keys(self) -> None:
        """One keyring for all; what is in it at `ceph-mon --mkfs`, the monitor knows."""
        keyring = str(self._folder / "keyring")
        everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
        self.run("ceph-authtool", keyring, "--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self.run("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", *everything)
        self.run(
            "ceph-authtool", keyring, "--gen-key", "-n", "osd.0", *everything[:2], "allow profile osd", *everything[3:]
        )

    def _command(self, program: str, *arguments: str) -> list[str]:
        if program in {"ceph-authtool", "monmaptool"} or arguments == ("--version",):
            return [program, *arguments]
        mine = ["-c", str(self._folder / "ceph.conf"), "--keyring", str(self._folder / "keyring")]
        return [program, *mine, *arguments]
