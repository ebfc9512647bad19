"""Real processes with DDP, a mesh and torch's distributed checkpoints: the weights do not know how many there were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm_assets.store.shards.shard_set import ShardSet

pytestmark = pytest.mark.slow

STEPS = 12
TRAIN = """
import json, os, sys
from contextlib import nullcontext
import torch, torch.distributed as dist, torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from llm_assets.loader import TokenLoader

mixture, checkpoint, until = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(1)
dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (dist.get_world_size(), 1), mesh_dim_names=("data", "tensor"))
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Embedding(1000, 8), torch.nn.Linear(8, 1000)).double()
ddp = DistributedDataParallel(model, process_group=mesh.get_group("data"))
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
loader = TokenLoader(
    mixture, mesh=mesh, data_parallel="data", batch_size=[(0, 8), (40, 16)], micro_batch_size=2, sequence_length=6,
    epochs=2, seed=3, block=5, shift_labels=True, prefetch=2,
)
if os.path.exists(checkpoint):
    state = {"model": model.state_dict(), "data": loader}
    dcp.load(state, checkpoint_id=checkpoint)
    model.load_state_dict(state["model"])
for batch in loader:
    with nullcontext() if loader.at_step_end else ddp.no_sync():
        logits, labels = ddp(batch["input_ids"]), batch["labels"]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        (loss / labels.numel() / loader.accumulation).backward()
    if loader.at_step_end:
        optimizer.step()
        optimizer.zero_grad()
        if loader.step == until:
            break
dcp.save({"model": model.state_dict(), "data": loader}, checkpoint_id=checkpoint)
if dist.get_rank() == 0:
    weights = [float(weight.detach().square().sum()) for weight in model.parameters()]
    print(json.dumps([loader.step, loader.position, weights]))
dist.barrier()
os._exit(0)  # as a job that is stopped: nothing is closed
"""


def trained(
    script: Path, processes: int, shards: ShardSet, checkpoint: Path, until: int
) -> tuple[int, int, list[float]]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    result = subprocess.run(
        [sys.executable, *launch, str(script), shards.uri, str(checkpoint), str(until)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    step, position, weights = json.loads(result.stdout.splitlines()[-1])
    return step, position, weights


def test_training_does_not_depend_on_the_number_of_processes_nor_on_where_it_was_stopped(
    shards: ShardSet, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    step, position, weights = trained(script, 1, shards, tmp_path / "one", STEPS)
    assert (step, position) == (STEPS, 5 * 8 + 7 * 16)
    for processes, until in ((2, 3), (4, 8), (2, STEPS)):
        stopped = trained(script, processes, shards, tmp_path / "many", until)
    assert stopped[:2] == (step, position)
    assert stopped[2] == pytest.approx(weights, rel=1e-12)
