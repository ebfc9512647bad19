"""The code in docs/loader.md runs as it stands there, from top to bottom."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from llm_assets.store.shards.shard_set import ShardSet

GUIDE = Path(__file__).parents[2] / "docs/loader.md"


def test_the_guide_runs(shards: ShardSet, tmp_path: Path) -> None:
    trained: list[dict[str, torch.Tensor]] = []
    checkpoint: dict[str, Any] = {}
    names: dict[str, Any] = {
        "mixture": shards.uri,
        "rank": 0,
        "world_size": 1,
        "train": trained.append,
        "checkpoint": checkpoint,
        "examples": [list(range(1, size)) for size in range(2, 90)],
        "output": str(tmp_path),
        "Path": Path,
        "json": json,
    }
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    left_out = ["init_device_mesh"]  # which needs several processes
    if find_spec("accelerate") is None:
        left_out.append("import Trainer")
    ran = [block for block in blocks if not any(name in block for name in left_out)]
    assert len(blocks) - len(left_out) == len(ran) > 10
    for block in ran:
        before = len(trained)
        exec(compile(block, str(GUIDE), "exec"), names)
        trains = re.search(r"^for .*:\n    train\(", block, re.MULTILINE)
        delivers = trains and not block.startswith("from torch.utils.data")
        assert len(trained) > before or not delivers, block
    assert checkpoint["data"]
    compile("\n".join(blocks), str(GUIDE), "exec")
