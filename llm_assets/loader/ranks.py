"""The data-parallel rank of this process, which decides its share of every batch: given, or read off a device mesh.

Guarantees that nothing is read from the environment: the default is rank 0 of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


@dataclass(frozen=True)
class Ranks:
    """Data-parallel rank `rank` of `world_size`. Raises ValueError unless 0 <= rank < world_size."""

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if type(self.rank) is not int or type(self.world_size) is not int:
            raise ValueError(f"rank {self.rank!r} of a world of {self.world_size!r}: give both as int")
        if self.world_size < 1 or not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} of a world of {self.world_size}: ranks go from 0 to world_size - 1")

    @classmethod
    def of_mesh(cls, mesh: DeviceMesh, data_parallel: str | Sequence[str]) -> Ranks:
        """The rank of this process along the data-parallel dimensions of a mesh, the first named varying slowest.

        Ranks that differ only along other dimensions (tensor, pipeline or context parallel) get the same rows.
        Raises ValueError for a dimension that the mesh does not have, or one named twice.
        """
        wanted = (data_parallel,) if isinstance(data_parallel, str) else tuple(data_parallel)
        names = mesh.mesh_dim_names or ()
        if not wanted or len({*wanted}) != len(wanted) or not {*wanted} <= {*names}:
            raise ValueError(f"data-parallel dimensions {wanted}: name one or more of the mesh's {names}, each once")
        rank, world_size = 0, 1
        for name in wanted:
            size = mesh.size(names.index(name))
            rank, world_size = rank * size + mesh.get_local_rank(name), world_size * size
        return cls(rank, world_size)
