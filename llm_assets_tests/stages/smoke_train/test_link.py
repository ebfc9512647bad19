"""Smoke training: which rows it takes, that it learns and repeats itself, and that its numbers are what they say."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from llm_assets.contract.link import MissingInputError, State
from llm_assets.contract.shard_partition import read_provenance
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.smoke_train import link as smoke_train_module
from llm_assets.stages.smoke_train import tiny_model
from llm_assets.stages.smoke_train.link import (
    SmokeTrainError,
    SmokeTrainLink,
    SmokeTrainParameters,
    loss_falls,
    row_length,
)
from llm_assets.stages.tokenize.token_bytes import UnknownBytesError
from llm_assets.store.ledger import Count
from llm_assets.store.reports import StagedReport, StoredReport
from llm_assets.store.shards.shard_set import ShardMissingError, ShardSet
from llm_assets_tests.worlds.held_out_world import both_sets, with_held_out
from llm_assets_tests.worlds.world import World

LENGTH = 64
"""Two rows of the model are one of the mixture."""

SMALL = {"steps": 40, "batch_size": 2, "sequence_length": LENGTH, "held_out_rows": 9, "threads": 1}
SMALL |= {"width": 32, "heads": 2, "layers": 1}
SMALLER = {"width": 4, "heads": 1}


def link(world: World, **asked: object) -> SmokeTrainLink:
    return SmokeTrainLink(world.mixed, SmokeTrainParameters.model_validate({**SMALL, **asked}))


@pytest.fixture(scope="module")
def held(made_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """With a validation set. Not to be changed."""
    return with_held_out(made_world, tmp_path_factory.mktemp("held") / "store")


@pytest.fixture
def changing(made_world: World, tmp_path: Path) -> World:
    """The same, to be changed."""
    return with_held_out(made_world, tmp_path / "held")


@pytest.fixture(scope="module")
def staged(held: World) -> StagedReport:
    return held.make(link(held), "v1")


def tried_rows(held_out: ShardSet) -> dict[str, list[int]]:
    """Of nine: the three of code, and six of the seven of docs."""
    sources = read_provenance(held_out)["source"].to_pylist()
    rows = {name: [row for row, source in enumerate(sources) if source == name] for name in sorted({*sources})}
    assert {name: len(each) for name, each in rows.items()} == {"code": 3, "docs": 7}
    return {"code": rows["code"], "docs": [rows["docs"][place * 7 // 6] for place in range(6)]}


def test_a_model_learns_from_the_mixture(held: World, staged: StagedReport) -> None:
    (outcome,) = held.outcomes(link(held), staged).values()
    assert outcome.passed and "the loss went from 5." in outcome.message
    losses, vocabulary = staged.results["losses"], both_sets(held)[0].index.vocabulary_size
    assert len(losses) == 40 and losses[0] == pytest.approx(math.log(vocabulary), rel=0.1)
    assert {source: found["rows"] for source, found in staged.results["held_out"].items()} == {"docs": 6, "code": 3}
    for found in staged.results["held_out"].values():
        assert 1 < found["bits_per_byte"] < 8 and found["bits_per_token"] > found["bits_per_byte"]


def test_what_a_person_sees(held: World, staged: StagedReport) -> None:
    description = link(held).describe(staged, held.store)
    (curve,) = description.curves.values()
    assert curve.tolist() == staged.results["losses"] and description.rows == 40
    values, docs = description.values, staged.results["held_out"]["docs"]
    assert values["held_out_is"] == "9 of the 10 rows of the version's validation set"
    assert (values["held_out_rows_docs"], values["held_out_tokens_docs"]) == (6, docs["tokens"])
    assert values["held_out_bits_per_byte_docs"] == docs["bits_per_byte"]
    assert values["tokens_per_second"] > 0 and "tokens/s" in str(values["loader"])


def test_the_same_rows_and_parameters_give_the_same_report(held: World, staged: StagedReport) -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.manual_seed(99)
    assert held.make(link(held), "v1").manifest.digest == staged.manifest.digest
    torch.manual_seed(99)
    drawn = torch.rand(3)
    held.make(link(held, steps=2, threads=1), "v1")
    torch.manual_seed(99)
    assert torch.equal(torch.rand(3), drawn) and torch.get_num_threads() == threads
    torch.random.set_rng_state(state)
    assert held.make(link(held, seed=1), "v1").manifest.digest != staged.manifest.digest


@pytest.mark.parametrize("epochs", [0.4, 1.2])
def test_what_it_is_trained_and_tried_on(held: World, monkeypatch: pytest.MonkeyPatch, epochs: float) -> None:
    """What the model is really given, found again in the two sets, which have no packed row in common."""
    seen: dict[bool, list[np.ndarray]] = {True: [], False: []}
    forward = tiny_model.TinyModel.forward

    def spying(self: tiny_model.TinyModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen[torch.is_grad_enabled()].append(batch["input_ids"].numpy().copy())
        return forward(self, batch)

    monkeypatch.setattr(tiny_model.TinyModel, "forward", spying)
    shards, held_out = both_sets(held)
    steps = int(epochs * shards.rows)  # a batch is a row of the mixture
    staged = held.make(link(held, steps=steps, **SMALLER), "v1")
    rows = shards.input_ids(0, shards.rows).reshape(-1, LENGTH)
    trained, tried = np.concatenate(seen[True]), np.concatenate(seen[False])
    assert np.array_equal(trained, np.resize(rows, (2 * steps, LENGTH)))
    numbers = [row for each in tried_rows(held_out).values() for row in each]
    expected = held_out.input_ids(0, held_out.rows)[numbers]
    assert np.array_equal(tried, expected.reshape(-1, LENGTH))
    assert not {row.tobytes() for row in expected} & {row.tobytes() for row in shards.input_ids(0, shards.rows)}
    assert not origins(shards) & origins(held_out)

    ledger, reached, row_bytes = staged.manifest.ledger, min(steps, shards.rows), 2 * LENGTH * shards.dtype.itemsize
    tokens = sum(int(held_out.document_lengths(row, row + 1).lengths.sum()) for row in numbers)
    assert ledger.incoming == ledger.accounted
    assert ledger.kept == Count(
        rows=reached, bytes=reached * row_bytes, tokens=int(shards.document_lengths(0, reached).lengths.sum())
    )
    assert ledger.dropped == {"held_out": Count(rows=9, bytes=9 * row_bytes, tokens=tokens)}


def origins(shards: ShardSet) -> set[tuple[str, str, int]]:
    """The packed rows that the rows of a set are copies of."""
    found = set(zip(*(column.to_pylist() for column in read_provenance(shards).columns[1:]), strict=True))
    assert found
    return found


def test_a_batch_may_be_more_than_the_mixture(held: World) -> None:
    staged, rows = held.make(link(held, batch_size=700, steps=2, **SMALLER), "v1"), both_sets(held)[0].rows
    assert 2 * rows < 700 and len(staged.results["losses"]) == 2
    assert staged.manifest.ledger.kept.rows == rows and staged.measured["loader_batches"] == 2


def test_bits_per_byte_are_those_of_the_text(held: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Document by document, each alone, from the logits of the model that was trained; the text tells the bytes."""
    trained: list[tiny_model.TinyModel] = []
    train = tiny_model.train

    def keeping(*arguments: Any) -> Any:
        model, training = train(*arguments)
        trained.append(model)
        return model, training

    monkeypatch.setattr(tiny_model, "train", keeping)
    held_out, staged = both_sets(held)[1], held.make(link(held), "v1")
    tokenizer = held.tokenizer.load(held.store)
    for source, rows in tried_rows(held_out).items():
        nats, targets, size = 0.0, 0, 0
        for piece in (piece for row in rows for piece in pieces(held_out, row)):
            nats += nats_alone(trained[0], piece)
            targets += len(piece) - 1
            tokens = [tokenizer.reference.id_to_token(token) for token in piece[1:]]
            # every character a byte, so that a token cut out of a character counts too
            size += sum(len(token) for token in tokens if token != "<|endoftext|>")
        found = staged.results["held_out"][source]
        assert found["tokens"] == targets > 0
        assert found["bits_per_token"] == pytest.approx(nats / math.log(2) / targets, rel=1e-5)
        assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-5)


def pieces(shards: ShardSet, row: int) -> list[list[int]]:
    """Ids of the documents of a row, cut where rows of the model end; no padding."""
    ids, found, place = shards.input_ids(row, row + 1)[0].tolist(), [], 0
    for length in shards.document_lengths(row, row + 1).lengths.tolist():
        end = place + length
        while place < end:
            stop = min(end, (place // LENGTH + 1) * LENGTH)
            found.append(ids[place:stop])
            place = stop
    return found


def nats_alone(model: tiny_model.TinyModel, ids: list[int]) -> float:
    """What a text of these tokens costs, without the first, where nothing else is in the batch."""
    with torch.no_grad():
        x = (model.tokens(torch.tensor(ids)) + model.positions(torch.arange(len(ids))))[None]
        for block in model.blocks:
            x = block(x, torch.ones(len(ids), len(ids), dtype=torch.bool).tril())
        logits = (model.norm(x)[0] @ model.tokens.weight.T).double().numpy()
    return sum(
        math.log(sum(map(math.exp, at))) - at[token] for at, token in zip(logits.tolist(), ids[1:], strict=False)
    )


def test_where_bytes_are_not_known_there_are_bits_per_token(held: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise UnknownBytesError("another decoder")

    monkeypatch.setattr(smoke_train_module, "token_bytes", unknown)
    staged = held.make(link(held, steps=2), "v1")
    for found in staged.results["held_out"].values():
        assert found["bits_per_byte"] is None and found["bits_per_token"] > 1
    values = link(held).describe(staged, held.store).values
    assert {value for name, value in values.items() if "per_byte" in name} == {None}


def test_a_version_without_held_out_rows_says_how_to_get_them(world: World) -> None:
    shutil.rmtree(Path(world.store.tokenizer("bpe").path))  # only the bytes of held-out tokens come from there
    staged = world.make(link(world, steps=2), "v1")
    assert staged.results["held_out"] == {} and staged.manifest.ledger.dropped == {"held_out": Count()}
    assert [*staged.manifest.inputs] == ["demo/mixed[v1]"]
    values = link(world).describe(staged, world.store).values
    assert values["held_out_is"] == "nothing: the version has no held-out rows; declare held_out in the mixture"
    assert [name for name in values if name.startswith("held_out")] == ["held_out_is"]


def test_it_is_tried_on_nothing_where_no_rows_are_asked_for(held: World) -> None:
    staged = held.make(link(held, held_out_rows=0, steps=2), "v1")
    assert staged.results["held_out"] == {} and staged.manifest.ledger.dropped == {"held_out": Count()}
    assert link(held).describe(staged, held.store).values["held_out_is"] == "nothing: held_out_rows is 0"


def test_without_its_validation_set_a_version_is_damaged(changing: World) -> None:
    shutil.rmtree(both_sets(changing)[1].folder.path)
    with pytest.raises(ShardMissingError, match="the version names a validation set, but it does not exist"):
        changing.make(link(changing), "v1")


def test_another_validation_set_makes_the_report_stale(changing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    smoke = link(changing, steps=2)
    inputs = changing.commit(smoke, "v1").inputs
    assert {name: read.digest for name, read in inputs.items()} == {
        "held/mixed[v1]": both_sets(changing)[0].digest,
        "held/mixed[v1]/held_out": both_sets(changing)[1].digest,
    }
    assert smoke.state(changing.store, "v1") is State.CURRENT
    version = changing.mixed.committed(changing.store, "v1")
    assert version is not None
    other = replace(version, details={**version.details, "held_out": {**version.details["held_out"], "digest": "f00"}})
    monkeypatch.setattr(MixedLink, "committed", lambda *_: other)
    assert smoke.state(changing.store, "v1") is State.STALE


def test_a_loss_that_is_no_number_fails(held: World) -> None:
    staged = held.make(link(held, learning_rate=1e30), "v1")
    (outcome,) = held.outcomes(link(held), staged).values()
    assert not outcome.passed and "losses are no number, first that of step" in outcome.message
    assert np.isnan(next(iter(link(held).describe(staged, held.store).curves.values()))).any()


@given(losses=st.lists(st.floats(0, 20), min_size=2, max_size=99), min_fall=st.sampled_from([0.0, 0.5, 3.0]))
def test_the_first_tenth_is_compared_with_the_last(losses: list[float], min_fall: float) -> None:
    tenth = len(losses) // 10 or 1
    fell = sum(losses[:tenth]) / tenth - sum(losses[-tenth:]) / tenth
    assume(abs(fell - min_fall) > 1e-9)  # where rounding decides
    assert loss_falls(losses, min_fall).passed == (fell > min_fall)


def test_a_loss_that_stays_does_not_fall() -> None:
    assert not loss_falls([3.0, 3.0], 0.0).passed
    assert loss_falls([3.5, 3.0], 0.5).passed
    assert not loss_falls([3.0] * 50 + [None] * 2, 0.0).passed


def test_only_block_blocks_and_changes_no_report(made_world: World) -> None:
    warns, blocks = link(made_world), link(made_world, on_failure="block", min_fall=1)
    assert [check.blocking for check in (*warns.checks, *blocks.checks)] == [False, True]
    assert warns.code_version == blocks.code_version != link(made_world, steps=41).code_version


def test_states_follow_the_version_and_the_parameters(world: World) -> None:
    smoke = link(world, steps=2)
    assert smoke.state(world.store, "v1") is State.MISSING
    with pytest.raises(MissingInputError, match=r"demo/mixed\[v7\] is not there: materialize it first"):
        world.make(smoke, "v7")
    world.commit(smoke, "v1")
    assert smoke.state(world.store, "v1") is State.CURRENT
    assert link(world, steps=3).state(world.store, "v1") is State.STALE
    stored = StoredReport.open(world.store.report("demo/smoke_train", "v1"))
    assert stored is not None and len(stored.results["losses"]) == 2
    (version,) = world.mixed.versions(world.store).names()
    assert version == "v1" and world.mixed.state(world.store, "v1") is State.CURRENT


@dataclass(frozen=True)
class Rows:
    """As much of a shard set as the choice of a length looks at."""

    sequence_length: int


@pytest.mark.parametrize(
    ("packed", "asked", "length"),
    [(2048, None, 128), (512, 64, 64), (96, None, 96), (131, 131, 131), (30, 2, 2), (129, None, 43), (262, None, 2)],
)
def test_rows_are_divided_where_the_rows_of_the_mixture_end(packed: int, asked: int | None, length: int) -> None:
    assert row_length(Rows(packed), asked) == length


@pytest.mark.parametrize(("packed", "asked", "tried"), [(131, None, 1), (512, 100, 100)])
def test_rows_that_cannot_be_divided_so_are_refused(packed: int, asked: int | None, tried: int) -> None:
    says = f"{tried} tokens in a row of the model, .* rows of {packed}: set sequence_length to a number over 1"
    with pytest.raises(SmokeTrainError, match=says):
        row_length(Rows(packed), asked)


def test_another_tokenizer_is_refused(changing: World) -> None:
    shutil.rmtree(Path(changing.store.tokenizer("bpe").path))
    with pytest.raises(MissingInputError, match="tokenizers/bpe is not there"):
        changing.make(link(changing), "v1")
    trained = changing.tokenizer.parameters.train
    assert trained is not None
    parameters = changing.tokenizer.parameters.model_copy(
        update={"train": trained.model_copy(update={"vocabulary_size": 390})}
    )
    changing.commit(replace(changing.tokenizer, parameters=parameters), "")
    with pytest.raises(SmokeTrainError, match=r"held/mixed has ids of another tokenizer than tokenizers/bpe now"):
        changing.make(link(changing), "v1")
