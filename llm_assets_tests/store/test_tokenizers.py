from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llm_assets.store.folder import Folder
from llm_assets.store.ledger import Ledger
from llm_assets.store.manifest import Manifest
from llm_assets.store.tokenizers import FrozenTokenizerError, StagedTokenizer, StoredTokenizer
from llm_assets_tests.store.writers import Moments

MANIFEST = Manifest("tokenizers/bpe", "", "g", "1", {}, "digest", Ledger())


def staged(folder: Folder, text: str = '{"model": "ü"}') -> StagedTokenizer:
    return StagedTokenizer(folder, text, replace(MANIFEST, digest=text))


def test_a_tokenizer_comes_back(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "t"))
    assert StoredTokenizer.open(folder) is None
    staged(folder).discard()
    assert folder.find() == []
    staged(folder).commit()
    stored = StoredTokenizer.open(folder)
    assert stored is not None and stored.json_text == '{"model": "ü"}' and stored.fingerprint == stored.json_text
    assert (tmp_path / "t/tokenizer.json").read_text() == stored.json_text


def test_the_first_stays(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    first, second = staged(folder, "first"), staged(folder, "second")
    first.commit()
    first.commit()
    with pytest.raises(FrozenTokenizerError, match="tokenizers/bpe"):
        second.commit()
    stored = StoredTokenizer.open(folder)
    assert stored is not None and stored.json_text == stored.manifest.digest == "first"


def test_two_commits_at_once_never_mix(tmp_path: Path) -> None:
    moment, happened = 0, True
    while happened:
        folder = Folder(str(tmp_path / str(moment)))
        with pytest.MonkeyPatch.context() as patch:
            moments = Moments(patch, moment, staged(folder, "other").commit)
            try:
                staged(folder, "own").commit()
            except FrozenTokenizerError:
                assert moments.happened
            happened = moments.happened
        stored = StoredTokenizer.open(folder)
        assert stored is not None and stored.json_text == stored.manifest.digest
        moment += 1
    assert moment > 1


def test_a_commit_that_is_killed_halfway_is_no_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(str(tmp_path))

    class KilledError(BaseException):
        pass

    def killed(*_: object) -> bool:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "put_new", killed)
        with pytest.raises(KilledError):
            staged(folder, "first").commit()
    assert StoredTokenizer.open(folder) is None
    staged(folder, "second").commit()
    stored = StoredTokenizer.open(folder)
    assert stored is not None and stored.manifest.digest == "second"
