import json
from pathlib import Path
from typing import Any

import pytest
import xxhash

from llm_assets.store.folder import Folder
from llm_assets.store.shards.shard_set import (
    IndexMalformedError,
    IndexVersionError,
    ShardSet,
    ShardSetError,
)
from llm_assets_tests.store.shards.examples import (
    flipped,
    make_example,
    stage,
)


def test_index_does_not_grow_with_the_set(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    few = stage(folder, make_example(1, 10, 8), "few", 16)
    many = stage(folder, make_example(1, 990, 8), "many", 16)
    assert many.index.shard_count == 990
    assert len(many.index.to_bytes()) < len(few.index.to_bytes()) + 20


def test_any_flipped_byte_of_index_or_table_is_found(tmp_path: Path) -> None:
    stage(Folder(str(tmp_path)), make_example(3, 4, 16)).commit({"by": "test"})
    for name in ("index.json", "first/shards.arrow"):
        good = (tmp_path / name).read_bytes()
        for position in range(len(good)):
            (tmp_path / name).write_bytes(flipped(good, position, 1 << position % 8))
            with pytest.raises(ShardSetError) as caught:
                ShardSet.open(str(tmp_path))
            assert caught.value.file == f"{tmp_path}/{name}"
        (tmp_path / name).write_bytes(good)


def test_strange_indexes_are_refused(tmp_path: Path) -> None:
    stage(Folder(str(tmp_path)), make_example(4, 6, 8)).commit({})
    path = tmp_path / "index.json"
    good = json.loads(path.read_bytes())

    def refused(content: object, error: type[ShardSetError], match: str) -> None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(error, match=match):
            ShardSet.open(str(tmp_path))

    def checked(content: dict[str, Any]) -> str:
        """As a writer with these fields would have written it: the checksum covers all that comes after it."""
        rest = '", ' + json.dumps({key: value for key, value in content.items() if key != "checksum"})[1:]
        return '{\n "checksum": "' + xxhash.xxh3_128_hexdigest(rest.encode()) + rest

    for other in (1, 3):
        problem = rf"index\.json: has format {other}; this version reads format 2"
        refused(good | {"format": other}, IndexVersionError, problem)
    refused("", IndexMalformedError, "not JSON")
    refused(json.dumps(good)[:-9], IndexMalformedError, "not JSON")
    refused([good], IndexMalformedError, "not a JSON object")
    refused({}, IndexMalformedError, "no format number")
    refused(good | {"pad_id": 3}, IndexMalformedError, "checksum")
    refused(checked({**good, "colour": 3}), IndexMalformedError, "colour")
    refused(checked({key: value for key, value in good.items() if key != "rows"}), IndexMalformedError, "rows")
    path.write_text(checked(good))
    assert ShardSet.open(str(tmp_path)).rows == 6
