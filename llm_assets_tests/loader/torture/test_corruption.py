"""Damaged files, in the cache, at the source and of a local set without a cache: the rows as written or an error that
names a file, never others.

`make torture` damages 2,000 files, `make test` a tenth of them.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llm_assets.loader import TokenLoader
from llm_assets.loader.cache import CachedShardSet, CacheSettings, FetchSettings, open_cached
from llm_assets.loader.cache.counters import CacheCounters
from llm_assets.store.shards import writer as shard_writer
from llm_assets.store.shards.index import INDEX_FILE
from llm_assets.store.shards.shard_set import ShardSet, ShardSetError
from llm_assets_tests.loader.sets import write
from llm_assets_tests.loader.torture.trials import seed, trials

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]

ROWS, SHARD_ROWS, BLOCK = 120, 17, 256
KINDS = ("flip", "truncate", "zero", "swap", "stale", "append", "empty", "gone")
FETCH = FetchSettings(deadline_seconds=120, backoff_seconds=0.001, damaged_attempts=2, range_bytes=3 * BLOCK)


def damage(kind: str, file: Path, others: list[Path], old: Path, chance: random.Random) -> None:
    """Change a file, whatever it takes; `old` is the same file of an earlier set, `others` are its neighbours."""
    data = file.read_bytes()
    if kind == "gone":
        file.unlink()
    elif kind == "swap":
        other = chance.choice([each for each in others if each != file])
        file.write_bytes(other.read_bytes())
        other.write_bytes(data)
    else:
        changed = data
        while changed == data:
            changed = damaged(kind, data, old, chance)
        file.write_bytes(changed)


def damaged(kind: str, data: bytes, old: Path, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    stop = chance.randint(start + 1, len(data))
    if kind == "flip":
        return data[:start] + bytes([data[start] ^ 1 << chance.randrange(8)]) + data[start + 1 :]
    if kind == "zero":
        return data[:start] + bytes(stop - start) + data[stop:]
    if kind == "append":
        return data + data[start:stop]
    return {"truncate": data[:start], "stale": old.read_bytes(), "empty": b""}[kind]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set and an earlier one, of the same number of rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_writer, "BLOCK_BYTES", BLOCK)
        folder = tmp_path_factory.mktemp("sets")
        write(folder / "now", ROWS, seed=1, shard_rows=SHARD_ROWS)
        write(folder / "before", ROWS, seed=2, shard_rows=SHARD_ROWS)
        return folder


def files_of(shards: ShardSet, *, all_files: bool) -> list[Path]:
    folder = Path(shards.uri) / shards.index.generation
    return sorted(folder.glob("*.arrow" if all_files else "shard-*.arrow"))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def problem_of(read: Callable[[], None]) -> ShardSetError | None:
    try:
        read()
    except ShardSetError as error:
        return error
    return None


def check_rows(shards: ShardSet, expected: ShardSet, chance: random.Random) -> None:
    """Read all rows, in pieces in any order; they must be the expected ones."""
    pieces = [(first, min(ROWS, first + 13)) for first in range(0, ROWS, 13)]
    chance.shuffle(pieces)
    for first, last in pieces:
        ids, (offsets, lengths) = shards.input_ids(first, last), shards.document_lengths(first, last)
        theirs = expected.document_lengths(first, last)
        assert np.array_equal(ids, expected.input_ids(first, last)), f"wrong ids in rows {first} to {last}"
        assert np.array_equal(offsets, theirs.offsets) and np.array_equal(lengths, theirs.lengths)


def noticeable(file: Path, sound: bytes, number: int, shards: ShardSet) -> bool:
    """Whether the damage is in a block that is read for rows: not, for instance, in the footer that Arrow writes."""
    if not file.exists():
        return False
    now = file.read_bytes()
    if len(now) != len(sound):
        return True
    shard, layout = shards.shards()[number], shards.index.layout
    first = layout.input_ids_offset // BLOCK * BLOCK
    last = -(-(layout.lengths_offset(shard.rows) + 4 * shard.documents) // BLOCK) * BLOCK
    return now[first:last] != sound[first:last]


def settings(folder: Path, chance: random.Random, quota: int = 1 << 20) -> CacheSettings:
    return CacheSettings(
        folder, quota, prefetch=chance.randrange(3), memory_bytes=chance.choice([0, 1 << 20]), fetch=FETCH
    )


def test_damaged_files_of_the_cache(folder: Path, tmp_path: Path) -> None:
    """The source is sound, so the rows must be right, also for a reader that has the file open."""
    chance = random.Random(seed())
    source, before = ShardSet.open(folder / "now"), ShardSet.open(folder / "before")
    untouched = bytes_of(folder)
    keys = {shard.checksum: number for number, shard in enumerate(source.shards())}
    found: Counter[str] = Counter()
    count, cache = trials(600), tmp_path / "0"
    every: list[CacheCounters] = []  # threads that fetch ahead may find damage too, for as long as they live
    for trial in range(count):
        kind = KINDS[trial % len(KINDS)]
        reader = open_cached(source.uri, settings(cache, chance))
        every.append(reader.counters)
        check_rows(reader, source, chance)
        before_damage = sum(each.quarantined for each in every)
        sound = {file: file.read_bytes() for file in sorted(cache.glob("*.shard"))}
        assert len(sound) == len(keys)
        for file in chance.sample(list(sound), chance.randint(1, 3)):
            there = [each for each in sound if each.exists()]
            damage(kind, file, there, files_of(before, all_files=False)[keys[file.stem]], chance)
        fresh = chance.random() < 0.7
        again = open_cached(source.uri, settings(cache, chance)) if fresh else reader
        notice = sum(noticeable(file, data, keys[file.stem], source) for file, data in sound.items())
        every += [again.counters] if fresh else []
        check_rows(again, source, chance)
        if fresh:  # the thread of the other reader may have been quicker, so it is the files that tell
            assert not any(noticeable(file, data, keys[file.stem], source) for file, data in sound.items())
            assert sum(each.quarantined for each in every) - before_damage >= (notice > 0), f"trial {trial}: {kind}"
        found[f"{kind}: quarantined" if again.counters.quarantined else f"{kind}: not read, or fetched"] += 1
        reader.close()
        again.close()
        if chance.random() < 0.5:
            cache = tmp_path / str(trial + 1)
    print(f"{count} trials: {dict(found)}")
    assert bytes_of(folder) == untouched


def test_damaged_files_of_the_source(folder: Path, tmp_path: Path) -> None:
    """With a cache that has none, some or all of the shards: right rows or an error, and what is cached stays right."""
    chance = random.Random(seed())
    expected = ShardSet.open(folder / "now")
    before = ShardSet.open(folder / "before")
    found: Counter[str] = Counter()
    count = trials(400)
    for trial in range(count):
        kind, cache = KINDS[trial % len(KINDS)], tmp_path / str(trial)
        shutil.copytree(folder / "now", tmp_path / "source")
        reader: CachedShardSet | None = None
        if chance.random() < 0.5:
            reader = open_cached(tmp_path / "source", settings(cache, chance))
            some = chance.randrange(ROWS)
            reader.input_ids(0, some)
        source = ShardSet.open(tmp_path / "source")
        files = files_of(source, all_files=True)
        place = chance.randrange(len(files))
        damage(kind, files[place], files, files_of(before, all_files=True)[place], chance)
        outcomes = []
        if reader is not None:
            outcomes.append(problem_of(lambda shards=reader: check_rows(shards, expected, chance)))
            reader.close()
        outcomes.append(problem_of(lambda name=cache: open_and_check(tmp_path / "source", name, expected, chance)))
        for error in filter(None, outcomes):
            assert error.file in {str(file) for file in files}, error
        found.update("right" if error is None else type(error).__name__ for error in outcomes)
        if reader is None and files[place].name.startswith("shard-") and kind != "append":
            assert outcomes[-1] is not None, f"trial {trial}: {kind} of {files[place].name} was not noticed"
        shutil.rmtree(tmp_path / "source")
    print(f"{count} trials: {dict(found)}")
    assert found["right"] and len(found) > 1


def open_and_check(folder: Path, cache: Path, expected: ShardSet, chance: random.Random) -> None:
    shards = open_cached(folder, settings(cache, chance))
    try:
        check_rows(shards, expected, chance)
    finally:
        shards.close()


def files_read(shards: ShardSet) -> dict[Path, range]:
    """The files of a local set, and the bytes of each that decide what its reader hands out."""
    index = shards.index
    folder = Path(shards.uri)
    found = {folder / INDEX_FILE: range(1 << 30)}
    records = range(index.checks.offset, index.checks.record_range(index.shard_count)[0])
    found[folder / index.table_file] = records
    for number, shard in enumerate(shards.shards()):
        first = index.layout.input_ids_offset // BLOCK * BLOCK
        last = -(-(index.layout.lengths_offset(shard.rows) + 4 * shard.documents) // BLOCK) * BLOCK
        found[folder / index.shard_file(number)] = range(first, last)
    return found


def is_due(file: Path, sound: bytes, read: range) -> bool:
    """Whether a change of a file must be noticed: not, for instance, one in what Arrow writes around the records."""
    if not file.exists():
        return True
    now = file.read_bytes()
    if file.name.startswith("shard-") and len(now) != len(sound):
        return True
    return now[read.start : read.stop] != sound[read.start : read.stop]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_damaged_files_of_a_local_set(folder: Path, tmp_path: Path, prefetch: int) -> None:
    """Without a cache: any one of its files, two swapped, or all of another set but the index. By rows and by batches.

    An error where any byte that is read differs; otherwise the rows as written.
    """
    chance = random.Random(seed() + prefetch)
    expected, before = ShardSet.open(folder / "now"), ShardSet.open(folder / "before")
    batches = list(TokenLoader(folder / "now", batch_size=10))
    found: Counter[str] = Counter()
    count = trials(500)
    for trial in range(count):
        kind = (*KINDS, "all stale")[trial % (len(KINDS) + 1)]
        here = tmp_path / "set"
        shutil.copytree(folder / "now", here)
        source = ShardSet.open(here)
        reads = files_read(source)
        sound = {file: file.read_bytes() for file in reads}
        olds = dict(zip(reads, files_read(before), strict=True))
        if kind == "all stale":
            for file, old in [*zip(reads, olds.values(), strict=True)][1:]:
                file.write_bytes(old.read_bytes())
        else:
            file = chance.choice(list(reads))
            damage(kind, file, list(reads), olds[file], chance)
        due = any(is_due(file, data, reads[file]) for file, data in sound.items())
        errors = [
            problem_of(partial(open_and_check_rows, here, expected, chance)),
            problem_of(partial(check_batches, here, batches, prefetch)),
        ]
        for error in errors:
            assert (error is not None) == due, f"trial {trial}: {kind} gave {error}"
            assert error is None or str(here) in error.file
        found.update(f"{kind}: {'right' if error is None else type(error).__name__}" for error in errors)
        shutil.rmtree(here)
    print(f"{count} trials: {dict(sorted(found.items()))}")
    assert any(name.endswith("right") for name in found) and len(found) > len(KINDS)


def open_and_check_rows(folder: Path, expected: ShardSet, chance: random.Random) -> None:
    check_rows(ShardSet.open(folder, check_files=False), expected, chance)


def check_batches(folder: Path, expected: list[dict[str, Any]], prefetch: int) -> None:
    """All batches of a set; they must be the expected ones."""
    number = -1
    for number, batch in enumerate(TokenLoader(folder, batch_size=10, prefetch=prefetch)):
        assert all(torch.equal(batch[name], expected[number][name]) for name in batch), f"wrong batch {number}"
    assert number == len(expected) - 1
