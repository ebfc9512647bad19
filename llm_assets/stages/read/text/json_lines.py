"""JSON Lines: one JSON object a line.

Guarantees one record per line that is not blank, each with its line number and byte offset, at a cost proportional
to the bytes. Knows nothing of compression: it is given blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.records import RAW_LIMIT, BrokenStreamError, Quarantined, ReadError, Record, too_long
from llm_assets.stages.read.selection import Selection
from llm_assets.stages.read.text.json_object import read_object
from llm_assets.stages.read.text.lines import lines_of


def read_json_lines(blocks: Iterable[bytes], parameters: ReadParameters) -> Iterator[Record]:
    """The records of a decompressed file.

    Where the data breaks off, a last record holds what there is of the line that the break cut, even if that is
    nothing: something is missing there.
    """
    selection = Selection(parameters)
    number = offset = 0
    try:
        for line in lines_of(blocks):
            number, offset = line.number, line.offset + line.size + len(line.end)
            if not line.is_whole:
                yield Quarantined(
                    number, line.offset, ReadError.TOO_LARGE, too_long(line.size), line.data[:RAW_LIMIT], line.size
                )
            elif line.data and not line.data.isspace():
                yield read_object(line.data.removesuffix(b"\r"), number, line.offset, selection)
    except BrokenStreamError as broken:
        yield cut_record(number, offset, broken)


def cut_record(number: int, offset: int, broken: BrokenStreamError) -> Quarantined:
    """The entry for what follows line `number`, of which the break left `broken.pending`."""
    cut = broken.pending
    where = f"inside line {number + 1}" if cut else f"after line {number}" if number else "before the first line"
    return Quarantined.of(number + 1, offset, broken.error, f"{where}: {broken.detail}", cut)
