"""Structs in Thrift's compact protocol, in which Parquet describes its pages and itself.

Guarantees an error for what is no such struct, and that texts are only read where they are asked for.
"""

from __future__ import annotations

import os
from typing import IO, Any

Struct = dict[int, Any]
"""Values by the number of their field: int, bool, bytes (None where texts are skipped), lists and structs of these."""


class DamagedThriftError(ValueError):
    """Bytes that are no struct."""


def read_struct(file: IO[bytes], texts: bool = False) -> Struct:
    """The struct that begins where the file is; the file is behind it then. Raises DamagedThriftError."""
    try:
        return _ThriftReader(file, texts).struct()
    except (IndexError, RecursionError) as error:
        raise DamagedThriftError(f"a struct cannot be read: {error!r}") from error


class _ThriftReader:
    def __init__(self, file: IO[bytes], texts: bool) -> None:
        self._file = file
        self._texts = texts

    def struct(self) -> Struct:
        """The fields that follow, up to the stop."""
        fields: Struct = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._number()
            fields[number] = self._value(head & 15)
        return fields

    def _value(self, kind: int) -> Any:
        match kind:
            case 1 | 2:
                return kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._number()
            case 7:
                return self._text(8)
            case 8:
                return self._text(self._varint())
            case 9 | 10:
                return self._list()
            case 12:
                return self.struct()
            case _:
                raise DamagedThriftError(f"a field of the unknown type {kind}")

    def _list(self) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        kind = head & 15
        return [self._byte() if kind in (1, 2) else self._value(kind) for _ in range(count)]

    def _byte(self) -> int:
        return self._file.read(1)[0]

    def _text(self, size: int) -> bytes | None:
        if self._texts:
            return self._file.read(size)
        self._file.seek(size, os.SEEK_CUR)
        return None

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise DamagedThriftError("a number without an end")

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
