"""The code in docs/loader.md runs as it stands there, from top to bottom."""

import re
from pathlib import Path
from typing import Any

import torch

from llm_assets.store.shards import ShardSet

GUIDE = Path(__file__).parents[2] / "docs/loader.md"


def test_the_guide_runs(shards: ShardSet) -> None:
    trained: list[dict[str, torch.Tensor]] = []
    checkpoint: dict[str, Any] = {}
    names = {"mixture": shards.uri, "rank": 0, "world_size": 1, "train": trained.append, "checkpoint": checkpoint}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    ran = [block for block in blocks if "init_device_mesh" not in block]  # which needs several processes
    assert len(blocks) - 1 == len(ran) > 5
    for block in ran:
        before = len(trained)
        exec(compile(block, str(GUIDE), "exec"), names)
        delivers = "for batch in" in block and not block.startswith("from torch.utils.data")
        assert len(trained) > before or not delivers, block
    assert checkpoint["data"]
