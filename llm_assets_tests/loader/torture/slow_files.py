"""Local files that come slowly, behind a filesystem of their own: `slow:///folder`."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem


class SlowFiles(AbstractFileSystem):
    """Whole files and ranges, each after up to 20 ms."""

    protocol = "slow"

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        time.sleep(random.uniform(0, 0.02))
        return Path(self._strip_protocol(path)).read_bytes()[start:end]


fsspec.register_implementation("slow", SlowFiles, clobber=True)
