"""Other processes that write, dead or alive, and a look at every moment of what this one does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_assets.store.folder import Folder
from llm_assets.store.process import WriterProcess
from llm_assets.store.staging import ATTEMPTS, Attempt

_BEGIN = """
import sys
from llm_assets.store.folder import Folder
from llm_assets.store.staging import begin
print(begin(Folder(sys.argv[1]), lambda: ()).generation, flush=True)
sys.stdin.read()
"""


@contextmanager
def attempt_of_another_process(folder: Folder) -> Generator[str]:
    """The generation of an attempt whose process lives as long as the context."""
    command = [sys.executable, "-c", _BEGIN, folder.uri]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


def change_record(attempt: Attempt, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what is on record of an attempt."""
    name = f"{ATTEMPTS}/{attempt.generation}.json"
    record = json.loads(attempt.folder.read(name))
    change(record)
    attempt.folder.put(name, json.dumps(record).encode())


def die(attempt: Attempt) -> None:
    """Make it look as if the attempt's process had died, whoever makes the attempt."""
    gone = replace(WriterProcess.this(), began=WriterProcess.this().began - 60)
    change_record(attempt, lambda record: record.update(process=gone.as_dict()))


def files(folder: Folder) -> list[str]:
    """All files below a local folder, hidden ones too."""
    root = Path(folder.path)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


class Moments:
    """Counts what is done with folders while it is patched in, and does something else at one of those moments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, moment: int, event: Callable[[], None]) -> None:
        self._moment, self._event, self._busy = moment, event, False
        self.passed = 0
        for name in ("names", "find", "read", "exists", "sizes", "put", "put_new", "remove"):
            monkeypatch.setattr(Folder, name, self._counting(getattr(Folder, name)))

    @property
    def happened(self) -> bool:
        """Whether there were so many moments."""
        return self.passed > self._moment

    def _counting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if not self._busy:
                self._busy = True
                try:
                    if self.passed == self._moment:
                        self._event()
                finally:
                    self._busy = False
                self.passed += 1
            return method(*args, **kwargs)

        return counted
