"""Demo landing data from the Python installation at hand: nothing is shipped and nothing is downloaded.

`installation` lists files, `harvest` finds the documents in them, `sample` picks as many as were asked for and deals
them out to snapshots, `write` lands them. One installation gives the same bytes every time. No command line and no
Dagster in here.
"""

from llm_assets.demo.installation import Installation, Root, running_installation
from llm_assets.demo.write import (
    ForeignFilesError,
    LandedSnapshot,
    SnapshotDiffersError,
    write_demo_data,
)

__all__ = [
    "ForeignFilesError",
    "Installation",
    "LandedSnapshot",
    "Root",
    "SnapshotDiffersError",
    "running_installation",
    "write_demo_data",
]
