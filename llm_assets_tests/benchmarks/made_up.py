"""Results that nobody measured."""

from __future__ import annotations

from datetime import date

from benchmarks.result import Machine, Result, Row

MACHINE = Machine("A processor", 2, 23.5, 0.4, "3.11.7")


def made_up(target: str, *rows: Row, note: str = "A note.") -> Result:
    """A result of one row, or of those given."""
    chosen = rows or (Row("speed", "MB/s", "peer 1.0", (10.0, 30.0, 20.0), (2.0, 2.0, 4.0)),)
    return Result(target, f"What {target} is.", chosen, (note,), {"peer": "1.0"}, MACHINE, date(2026, 11, 21))
