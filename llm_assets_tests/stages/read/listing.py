"""The files of a folder, as the link finds them."""

from __future__ import annotations

from llm_assets.stages.read.files import InputFile
from llm_assets.stages.read.link import landed_files
from llm_assets.store.folder import Folder


def list_files(folder: Folder) -> list[InputFile]:
    return [InputFile(file.name, file.size) for file in landed_files(folder.uri, folder.listing())]
