from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from llm_assets.store.folder import Folder
from llm_assets.store.frozen_model import FrozenModel, ModelKind
from llm_assets.store.ledger import Ledger
from llm_assets.store.manifest import Manifest
from llm_assets.store.models import (
    MODEL,
    DamagedModelError,
    FrozenModelError,
    StagedModel,
    StoredModel,
)
from llm_assets_tests.store.writers import Moments

MANIFEST = Manifest("models/quality", "", "g", "1", {}, "digest", Ledger())


def model(content: bytes = b"\0\1weights") -> FrozenModel:
    return FrozenModel(ModelKind.FASTTEXT, {"label": "good"}, {"model.bin": content, "config.json": b"{}"})


def staged(folder: Folder, content: bytes = b"\0\1weights") -> StagedModel:
    made = model(content)
    return StagedModel(folder, made, replace(MANIFEST, digest=made.digest))


def stored(folder: Folder) -> StoredModel:
    found = StoredModel.open(folder)
    assert found is not None
    return found


def test_the_digest_is_of_everything() -> None:
    one = model()
    others = [
        replace(one, kind=ModelKind.TRANSFORMERS),
        replace(one, settings={"label": "bad"}),
        replace(one, files={**one.files, "model.bin": b""}),
        replace(one, files={"model.bin": one.files["model.bin"]}),
        replace(one, files={"model": one.files["model.bin"], "config.json": b"{}"}),
    ]
    assert len({each.digest for each in [one, *others]}) == 1 + len(others)
    assert one.digest == replace(one, files=dict(reversed(one.files.items()))).digest


def test_a_model_comes_back(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "m"))
    assert StoredModel.open(folder) is None
    staged(folder).discard()
    assert folder.find() == []
    staged(folder).commit()
    found = stored(folder)
    assert found.load() == model() and found.load().digest == found.manifest.digest
    assert found.load().size == len(b"\0\1weights") + 2


def test_the_first_stays(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    first, second = staged(folder, b"first"), staged(folder, b"second")
    first.commit()
    files = folder.find()
    first.commit()
    with pytest.raises(FrozenModelError, match="models/quality"):
        second.commit()
    assert stored(folder).load() == first.model and folder.find() == files


class Commit:
    """A commit, and whether it was the first."""

    def __init__(self, made: StagedModel) -> None:
        self.made, self.stays = made, False

    def __call__(self) -> None:
        try:
            self.made.commit()
            self.stays = True
        except FrozenModelError:
            self.stays = False


def test_two_commits_at_once_never_mix(tmp_path: Path) -> None:
    moment, happened = 0, True
    while happened:
        folder = Folder(str(tmp_path / str(moment)))
        own, other = Commit(staged(folder, b"own")), Commit(staged(folder, b"other"))
        with pytest.MonkeyPatch.context() as patch:
            moments = Moments(patch, moment, other)
            own()
            happened = moments.happened
        assert own.stays != other.stays
        assert stored(folder).load() == (own if own.stays else other).made.model
        moment += 1
    assert moment > 1


def test_a_commit_that_is_killed_halfway_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(str(tmp_path))

    class KilledError(BaseException):
        pass

    def killed(*_: object) -> bool:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "put_new", killed)
        with pytest.raises(KilledError):
            staged(folder, b"first").commit()
    assert StoredModel.open(folder) is None
    staged(folder, b"second").commit()
    assert stored(folder).load() == model(b"second")


def test_files_that_were_changed_are_not_used(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    staged(folder).commit()
    found = stored(folder)
    name = f"{found.manifest.digest}/model.bin"
    folder.put(name, b"other weights")
    with pytest.raises(DamagedModelError, match="were changed"):
        found.load()
    folder.remove(name)
    with pytest.raises(DamagedModelError, match="is gone"):
        found.load()


def test_settings_that_were_changed_are_not_used(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    staged(folder).commit()
    about = json.loads(folder.read(MODEL))
    folder.put(MODEL, json.dumps({**about, "settings": {"label": "ordinary"}}).encode())
    with pytest.raises(DamagedModelError, match="were changed"):
        stored(folder).load()
