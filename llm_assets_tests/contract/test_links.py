"""What every link has in common: staged, seen by nobody, then committed; and nothing left where it fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from llm_assets.contract.link import Link, MissingInputError, State, Work
from llm_assets.kernels.arrow import meaning
from llm_assets.stages.mix.plan import MixParameters
from llm_assets.stages.pack.plan import PackParameters
from llm_assets.stages.tokenize.encode import TokenizerError
from llm_assets.stages.tokenizer.link import TokenizerLink, TokenizerParameters
from llm_assets.store.refusals import Refusal
from llm_assets.store.shards.shard_set import ShardCorruptError, ShardSet
from llm_assets_tests.store.writers import files
from llm_assets_tests.worlds.tampering import flip_byte
from llm_assets_tests.worlds.world import World, jsonl, paragraphs

LINKS = ["raw", "cleaned", "deduped", "tokenized", "packed", "bpe", "mixed"]


def link_of(world: World, name: str) -> tuple[Link[Any], str]:
    """A link, and a partition of it that is made."""
    if name == "bpe":
        return world.tokenizer, ""
    if name == "mixed":
        return world.mixed, "v1"
    return next(link for link in world.docs.lineage if link.asset == f"docs/{name}"), "2026-02"


@pytest.mark.parametrize("name", LINKS)
def test_what_is_staged_is_seen_by_nobody_until_it_is_committed(world: World, name: str) -> None:
    link, partition = link_of(world, name)
    if name == "bpe":
        world.store.root.remove("tokenizers/bpe")
    before, digests = link.committed(world.store, partition), world.digests()
    staged = world.make(link, partition)
    world.outcomes(link, staged)
    description = link.describe(staged, world.store)
    assert link.committed(world.store, partition) == before and world.digests() == digests
    assert description.rows > 0 and description.bytes > 0 and len(description.columns) > 0
    assert all(meaning(field) for field in description.columns)
    staged.commit()
    assert link.committed(world.store, partition) == staged.manifest
    assert staged.uri.startswith(world.store.root.uri)
    if before is not None:
        assert staged.manifest.generation != before.generation and staged.manifest.digest == before.digest
    assert link.state(world.store, partition) is State.CURRENT


@pytest.mark.parametrize("name", LINKS)
def test_what_is_discarded_leaves_nothing(world: World, name: str) -> None:
    link, partition = link_of(world, name)
    world.make(link, partition).discard()
    before = files(world.store.root)
    world.make(link, partition).discard()
    assert files(world.store.root) == before


@pytest.mark.parametrize("name", LINKS)
def test_a_discard_after_the_commit_changes_nothing(world: World, name: str) -> None:
    link, partition = link_of(world, name)
    staged = world.make(link, partition)
    staged.commit()
    before = files(world.store.root)
    staged.discard()
    assert files(world.store.root) == before
    assert link.committed(world.store, partition) == staged.manifest


@pytest.mark.parametrize("name", [name for name in LINKS if name != "bpe"])
def test_of_two_attempts_at_once_the_last_to_commit_is_seen(world: World, name: str) -> None:
    link, partition = link_of(world, name)
    first, second = world.make(link, partition), world.make(link, partition)
    for staged in (second, first):
        staged.commit()
        assert link.committed(world.store, partition) == staged.manifest
        assert all(outcome.passed for outcome in world.outcomes(link, staged).values() if "rate" not in outcome.check)
    world.make(link, partition).discard()
    assert link.committed(world.store, partition) == first.manifest


@pytest.mark.parametrize("name", LINKS)
def test_the_ledger_balances(made_world: World, name: str) -> None:
    link, partition = link_of(made_world, name)
    manifest = link.committed(made_world.store, partition)
    assert manifest is not None and manifest.ledger.incoming == manifest.ledger.accounted
    assert manifest.ledger.incoming.amount(manifest.ledger.unit) > 0


class Stop(BaseException):
    """Like an interrupt: nothing expects it."""


def failing(patch: pytest.MonkeyPatch, target: str, call: int) -> None:
    """Let the given call of a function fail, the first being 0."""
    module, _, name = target.rpartition(".")
    owner: Any = pytest.importorskip(module) if ":" not in module else None
    if owner is None:
        path, _, attribute = module.partition(":")
        owner = getattr(pytest.importorskip(path), attribute)
    right: Callable[..., Any] = getattr(owner, name)
    calls: Iterator[int] = iter(range(1 << 30))

    def wrong(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise Stop
        return right(*args, **kwargs)

    patch.setattr(owner, name, wrong)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("name", "target", "call"),
    [
        ("raw", "llm_assets.store.documents:PartWriter.write", 0),
        ("raw", "llm_assets.store.documents:PartWriter.write", 1),
        ("raw", "llm_assets.store.documents:PartWriter.close", 0),
        ("raw", "llm_assets.contract.documents.content_digest", 0),
        ("raw", "llm_assets.contract.documents.combined_digest", 0),
        ("cleaned", "llm_assets.stages.clean.stage:CleanStage._clean", 0),
        ("cleaned", "llm_assets.contract.documents.content_digest", 1),
        ("deduped", "llm_assets.stages.dedup.exact:DedupStage._judge", 0),
        ("deduped", "llm_assets.contract.documents.content_digest", 0),
        ("tokenized", "llm_assets.store.token_set:TokenFileWriter.write", 0),
        ("tokenized", "llm_assets.store.token_set:TokenFileWriter.close", 0),
        ("tokenized", "llm_assets.store.token_set.content_digest", 0),
        ("packed", "llm_assets.store.shards.writer:ShardSetWriter.append", 0),
        ("packed", "llm_assets.store.shards.writer:ShardSetWriter.finish", 0),
        ("packed", "llm_assets.stages.pack.link.write_provenance", 0),
        ("packed", "llm_assets.stages.pack.link._ledger", 0),
        ("mixed", "llm_assets.store.shards.writer:ShardSetWriter.append", 0),
        ("mixed", "llm_assets.stages.mix.link.write_provenance", 0),
        ("mixed", "llm_assets.stages.mix.link.mixture_ledger", 0),
        ("mixed", "llm_assets.stages.mix.link.write_validation_set", 0),
        ("mixed", "llm_assets.stages.mix.version.shuffle:_Bucket.put", 1),
    ],
)
def test_a_link_that_fails_leaves_nothing(world: World, name: str, target: str, call: int) -> None:
    link, partition = link_of(world, name)
    world.make(link, partition).discard()
    before, digests = files(world.store.root), world.digests()
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, target, call)
        with pytest.raises(Stop):
            world.make(link, partition)
    assert files(world.store.root) == before
    assert world.digests() == digests


@pytest.mark.parametrize("name", ["cleaned", "deduped", "tokenized", "packed", "bpe", "mixed"])
def test_a_missing_input_is_named(world: World, name: str) -> None:
    link, partition = link_of(world, name)
    for folder in ("sources", "tokenizers", "mixtures"):
        world.store.root.remove(folder)
    with pytest.raises(MissingInputError, match=r"materialize|register"):
        link.inputs(world.store, partition)
    with pytest.raises(MissingInputError):
        world.make(link, partition)
    assert link.state(world.store, partition) is State.MISSING


def test_landed_files_without_the_sign_that_they_are_complete(world: World) -> None:
    world.store.landing.put("docs/2026-09/a.jsonl", jsonl(paragraphs(0, 3)))
    raw, _ = link_of(world, "raw")
    with pytest.raises(MissingInputError, match="_SUCCESS"):
        world.make(raw, "2026-09")
    assert "2026-09" not in world.store.order("docs").names()


def states(world: World, *names: str) -> list[State]:
    return [link_of(world, name)[0].state(world.store, link_of(world, name)[1]) for name in names]


def test_new_files_make_one_link_after_the_other_stale(world: World) -> None:
    names = LINKS[:5]
    assert states(world, *names) == [State.CURRENT] * 5
    world.land("docs", "2026-02", {"new.jsonl": jsonl(paragraphs(30, 33))})
    for place, name in enumerate(names):
        expected = [State.CURRENT] * place + [State.STALE] + [State.CURRENT] * (4 - place)
        assert states(world, *names) == expected
        world.commit(*link_of(world, name))
    assert states(world, *names) == [State.CURRENT] * 5


def test_files_that_were_only_touched_make_nothing_after_raw_stale(world: World) -> None:
    folder = world.store.landing / "docs/2026-02"
    content = folder.read("a.jsonl")
    folder.put("a.jsonl", content)
    assert states(world, "raw", "cleaned") == [State.STALE, State.CURRENT]
    world.commit(*link_of(world, "raw"))
    assert states(world, *LINKS[:5]) == [State.CURRENT] * 5


@pytest.mark.parametrize("change", ["metadata", "id", "file"])
def test_what_is_carried_along_counts_too(world: World, change: str) -> None:
    """The text is the same, but not all that the tables say of it."""
    folder = world.store.landing / "docs/2026-02"
    if change == "file":
        (folder.local_path("a.jsonl")).rename(folder.local_path("renamed.jsonl"))
    else:
        folder.put("a.jsonl", jsonl(paragraphs(5, 25), **{change: "new"}))
    world.commit(*link_of(world, "raw"))
    assert states(world, "cleaned") == [State.STALE]


def test_parameters_make_a_link_stale(world: World) -> None:
    longer = replace(world.docs, parameters=PackParameters(sequence_length=64))
    assert longer.state(world.store, "2026-02") is State.STALE


def test_a_refusal_lasts_until_something_changes(world: World) -> None:
    world.land("docs", "2026-02", {"bad.jsonl": b"{\n" * 9})
    raw, partition = link_of(world, "raw")
    staged = world.make(raw, partition)
    assert not world.outcomes(raw, staged)["quarantine_rate"].passed
    staged.discard()
    world.store.refusals.record(Refusal(raw.asset, partition, staged.manifest.fingerprint, {"quarantine_rate": "…"}))
    assert states(world, "raw") == [State.REFUSED]
    world.land("docs", "2026-02", {"bad.jsonl": b"{\n"})
    assert states(world, "raw") == [State.STALE]


@pytest.mark.parametrize("name", ["bpe", "mixed"])
def test_a_refused_tokenizer_and_a_refused_version_say_so(world: World, name: str) -> None:
    link, partition = link_of(world, name)
    world.store.root.remove("tokenizers/bpe" if name == "bpe" else "mixtures/demo/v1/index.json")
    assert states(world, name) == [State.MISSING]
    world.store.refusals.record(Refusal(link.asset, partition, "any", {}))
    assert states(world, name) == [State.REFUSED]


def test_a_snapshot_that_comes_late_makes_later_verdicts_stale(world: World) -> None:
    """Registered between two others, but cleaned last."""
    world.land("docs", "2026-03", {"a.jsonl": jsonl(paragraphs(70, 75))})
    world.land("docs", "2026-04", {"a.jsonl": jsonl(paragraphs(72, 80))})
    raw, cleaned, deduped = world.docs.lineage[:3]
    list(world.snapshots())
    for link in (raw, cleaned, deduped):
        world.commit(link, "2026-04")
    kept = deduped.committed(world.store, "2026-04").ledger.kept.documents
    for link in (raw, cleaned, deduped):
        world.commit(link, "2026-03")
    assert deduped.state(world.store, "2026-04") is State.STALE
    again = world.commit(deduped, "2026-04")
    assert again.ledger.kept.documents == kept - 3
    assert deduped.state(world.store, "2026-02") is State.CURRENT


def test_verdicts_keep_the_documents_that_they_are_about(world: World) -> None:
    """Cleaned is made again with other documents; until new verdicts are there, the old ones stand."""
    _, cleaned, deduped = world.docs.lineage[:3]
    before = list(_texts(world))
    world.land("docs", "2026-02", {"new.jsonl": jsonl(paragraphs(30, 33))})
    world.commit(world.docs.lineage[0], "2026-02")
    world.commit(cleaned, "2026-02")
    world.make(cleaned, "2026-02").discard()
    assert list(_texts(world)) == before
    world.commit(deduped, "2026-02")
    assert len(list(_texts(world))) == len(before) + 3


def _texts(world: World) -> Iterator[str]:
    for batch in world.docs.tokenized.documents.documents_of(world.store, "2026-02").batches(["text"]):
        yield from batch["text"].to_pylist()


def test_a_tokenizer_is_frozen(world: World) -> None:
    before = world.tokenizer.committed(world.store, "")
    world.land("docs", "2026-02", {"new.jsonl": jsonl(paragraphs(30, 33))})
    for name in ("raw", "cleaned", "deduped"):
        world.commit(*link_of(world, name))
    assert states(world, "bpe") == [State.CURRENT]
    assert world.commit(world.tokenizer, "") == before


def test_other_parameters_need_another_name(world: World) -> None:
    other = world.tokenizer.parameters.model_copy(update={"end_of_document": "<eod>"})
    link = replace(world.tokenizer, parameters=other)
    assert link.state(world.store, "") is State.STALE
    with pytest.raises(TokenizerError, match="under a new name"):
        link.make(Work(world.store, world.engine, ""))
    assert link.load(world.store).end_of_document == "<|endoftext|>"
    assert replace(link, name="bpe2").make(Work(world.store, world.engine, "")).manifest.digest


def test_a_tokenizer_from_a_file(world: World) -> None:
    root = world.store.root.local_path()
    given = root / "given.json"
    given.write_text(world.tokenizer.stored(world.store).json_text)
    link = TokenizerLink("given", TokenizerParameters(path=str(given)))
    manifest = world.commit(link, "")
    assert manifest.inputs == {} and manifest.details["vocabulary_size"] == 400
    assert link.stored(world.store).json_text == given.read_text()
    for path, content in (("missing.json", None), ("broken.json", "{"), ("binary.json", "\x00")):
        if content is not None:
            (root / path).write_text(content)
        with pytest.raises(TokenizerError):
            world.make(TokenizerLink("bad", TokenizerParameters(path=str(root / path))), "")


def test_a_version_that_cannot_be_made_again_says_why(world: World) -> None:
    world.land("docs", "2026-02", {"new.jsonl": jsonl(paragraphs(30, 33))})
    for link in world.docs.lineage:
        world.commit(link, "2026-02")
    with pytest.raises(RuntimeError, match=r"docs/packed\[2026-02\] was made again with other rows"):
        world.make(world.mixed, "v1")
    assert world.run_mixture() == "v2"
    assert world.mixed.state(world.store, "v1") is State.CURRENT


def test_a_version_of_other_code_is_not_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_assets.stages.mix.link.VERSION", "later")
    with pytest.raises(RuntimeError, match="was registered for code version 2-"):
        world.make(world.mixed, "v1")


def test_a_source_without_a_share_gives_nothing(world: World) -> None:
    mixed = replace(world.mixed, parameters=MixParameters(shares={"docs": 1, "code": 0}))
    version = mixed.versions(world.store).register(mixed.recipe(world.store))
    manifest = world.commit(mixed, version)
    assert manifest.ledger.dropped.keys() <= {"over_share:code", "over_share:docs"}
    assert version == "v2"


def test_a_mixture_that_was_damaged_since_it_was_written_is_not_committed(world: World) -> None:
    staged = world.make(world.mixed, "v1")
    flip_byte(staged)
    with pytest.raises(ShardCorruptError, match=r"mixtures/demo/v1/\w+/shard-00000\.arrow: block 0 \(from byte 0\)"):
        world.outcomes(world.mixed, staged)


def test_a_damaged_packed_row_never_gets_into_a_mixture(world: World) -> None:
    packed = ShardSet.open(world.store.packed("docs", "2026-01"))
    path = packed.folder.local_path(packed.index.shard_file(0))
    good = path.read_bytes()
    begin, size = packed.index.layout.input_ids_offset, packed.index.layout.row_stride
    for row in (0, packed.rows // 2, packed.rows - 1):
        path.write_bytes(
            good[: begin + row * size] + bytes([good[begin + row * size] ^ 1]) + good[begin + row * size + 1 :]
        )
        with pytest.raises(ShardCorruptError, match=r"sources/docs/packed/2026-01/\w+/shard-00000\.arrow: block 0 "):
            world.make(world.mixed, "v1")
    path.write_bytes(good)
    world.make(world.mixed, "v1").discard()


def test_a_copied_store_is_up_to_date(world: World) -> None:
    """Nothing in a store says where it lies."""
    for name in LINKS:
        assert states(world, name) == [State.CURRENT]
    moved = world.store.root.local_path().with_name("moved")
    shutil.move(world.store.root.local_path(), moved)
    assert world.digests() == {}
