"""The files of a folder, as the link finds them."""

from __future__ import annotations

from llm_assets.stages.read.files import InputFile
from llm_assets.stages.read.link import landed_files
from llm_assets.store.folder import Folder


def list_files(folder: Folder, landing: Folder | None = None, links: bool = False) -> list[InputFile]:
    landed = landed_files(folder.listing(), folder, landing or folder, links)
    return [InputFile(file.name, file.size) for file in landed]
