"""Other loaders, each as its own documentation does it, on rows in their order, with batches of 32 rows as int64.

All read in the process that trains: they share one core with it here, where worker processes made each of them slower.
The job names the `corpus` (a file of uint16 [rows, 1024]), the `peer`, and a folder `data`, in which each peer keeps
the rows in its own format, written unless they are there.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from benchmarks.inside import contend
from benchmarks.loading import LENGTH, ROWS, measure

OpenAt = Callable[[int], Iterator[Any]]
ROWS_PER_FILE = 8192


class MemmapRows(Dataset):
    """Rows of a file of uint16, as a map-style dataset."""

    def __init__(self, path: str) -> None:
        self._rows = np.memmap(path, np.uint16, "r").reshape(-1, LENGTH)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self._rows[index].astype(np.int64))


def memmap(corpus: str, folder: Path) -> OpenAt:
    """A torch Dataset over np.memmap in a DataLoader."""

    def open_at(row: int) -> Iterator[Any]:
        dataset = MemmapRows(corpus)
        return iter(DataLoader(Subset(dataset, range(row, len(dataset))) if row else dataset, batch_size=ROWS))

    return open_at


def hf_datasets(corpus: str, folder: Path) -> OpenAt:
    """Hugging Face datasets, map-style in the torch format, batches taken whole, as its guide for speed says."""
    import datasets

    if not folder.exists():
        rows = _source(corpus)
        features = datasets.Features({"input_ids": datasets.Sequence(datasets.Value("uint16"), length=LENGTH)})
        datasets.Dataset.from_dict({"input_ids": rows}, features=features).save_to_disk(str(folder))

    def open_at(row: int) -> Iterator[Any]:
        dataset = datasets.load_from_disk(str(folder)).with_format("torch", dtype=torch.int64)
        return (batch["input_ids"] for batch in (dataset.skip(row) if row else dataset).iter(batch_size=ROWS))

    return open_at


def litdata(corpus: str, folder: Path) -> OpenAt:
    """litdata: optimized as a stream of tokens, read by blocks of a row."""
    # it empties folders that it takes for its own: all of them are below this one, which is nobody else's
    os.environ["DATA_OPTIMIZER_CACHE_FOLDER"] = str(folder.with_name("litdata-cache"))
    os.environ["DATA_OPTIMIZER_DATA_CACHE_FOLDER"] = str(folder.with_name("litdata-data-cache"))
    import litdata as ld

    if not folder.exists():
        rows = _source(corpus)
        ld.optimize(
            _RowsAsTensors(corpus),
            list(range(0, len(rows), ROWS_PER_FILE)),
            str(folder),
            chunk_size=ROWS_PER_FILE * LENGTH,
            num_workers=1,
            item_loader=ld.TokensLoader(block_size=LENGTH),
        )

    def open_at(row: int) -> Iterator[Any]:
        dataset = ld.StreamingDataset(str(folder), item_loader=ld.TokensLoader(block_size=LENGTH), shuffle=False)
        loader = ld.StreamingDataLoader(dataset, batch_size=ROWS, num_workers=0)
        if row:
            loader.load_state_dict(_litdata_state(loader, row))
        return (batch.to(torch.int64) for batch in loader)

    return open_at


class _RowsAsTensors:
    """The function that litdata calls with the first row of a file: returns its tokens."""

    def __init__(self, corpus: str) -> None:
        self._corpus = corpus

    def __call__(self, first: int) -> Iterator[torch.Tensor]:
        for row in _source(self._corpus)[first : first + ROWS_PER_FILE]:
            yield torch.from_numpy(row.copy())


def _litdata_state(loader: Any, row: int) -> dict[str, Any]:
    """The state that its loader has after `row` rows."""
    next(iter(loader))
    state = loader.state_dict()
    state["dataset"]["num_samples_yielded"] = row
    return state | {"num_samples_yielded": {0: row} if isinstance(state.get("num_samples_yielded"), dict) else row}


def webdataset(corpus: str, folder: Path) -> OpenAt:
    """WebDataset: tar files of .npy rows. It has no place to resume from, other than reading up to it."""
    import webdataset as wds

    if not folder.exists():
        folder.mkdir()
        with wds.ShardWriter(f"file:{folder}/%05d.tar", maxcount=ROWS_PER_FILE, verbose=0) as sink:
            for number, row in enumerate(_source(corpus)):
                sink.write({"__key__": f"{number:09}", "npy": row})
    urls = [f"file:{path}" for path in sorted(folder.glob("*.tar"))]

    def widened(sample: tuple[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(sample[0].astype(np.int64))

    def open_at(row: int) -> Iterator[Any]:
        dataset = wds.WebDataset(urls, shardshuffle=False, empty_check=False).decode().to_tuple("npy").map(widened)
        loader = DataLoader(dataset.batched(ROWS, partial=False, collation_fn=torch.stack), batch_size=None)
        return islice(iter(loader), row // ROWS, None)

    return open_at


def streaming(corpus: str, folder: Path) -> OpenAt:
    """MosaicML Streaming: MDS files, not shuffled."""
    _without_image_operators()
    from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    if not folder.exists():
        with MDSWriter(out=str(folder), columns={"ids": f"ndarray:uint16:{LENGTH}"}) as sink:
            for row in _source(corpus):
                sink.write({"ids": row})

    def collated(samples: list[dict[str, np.ndarray]]) -> torch.Tensor:
        return torch.from_numpy(np.stack([sample["ids"] for sample in samples]).astype(np.int64))

    def open_at(row: int) -> Iterator[Any]:
        dataset = StreamingDataset(local=str(folder), shuffle=False, batch_size=ROWS)
        loader = StreamingDataLoader(dataset, batch_size=ROWS, num_workers=0, collate_fn=collated)
        if row:
            state = dataset.state_dict(num_samples=row, from_beginning=True)
            loader.load_state_dict(state | {"epoch": 0})  # before the first batch it says -1
        return iter(loader)

    return open_at


def _without_image_operators() -> None:
    """Let torchvision, which streaming imports, be imported with a build of torch that its operators do not fit."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", schema)


PEERS: dict[str, tuple[Callable[[str, Path], OpenAt], list[str]]] = {
    "memmap": (memmap, ["torch", "numpy"]),
    "datasets": (hf_datasets, ["datasets", "pyarrow"]),
    "litdata": (litdata, ["litdata"]),
    "webdataset": (webdataset, ["webdataset"]),
    "mosaicml-streaming": (streaming, ["mosaicml-streaming"]),
}


def _source(corpus: str) -> np.ndarray:
    return np.fromfile(corpus, np.uint16).reshape(-1, LENGTH)


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    make, _ = PEERS[job["peer"]]
    rows = Path(job["corpus"]).stat().st_size // (2 * LENGTH)
    return measure(make(job["corpus"], Path(job["data"]) / job["peer"]), rows)


if __name__ == "__main__":
    contend(_run, PEERS[json.loads(sys.argv[1])["peer"]][1])
