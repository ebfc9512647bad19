"""A forgotten version fails: where a stage gives another output on the same input, its VERSION has to be raised."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llm_assets_tests.worlds.golden import Golden, made_now, recorded

RECORD = "python -m llm_assets_tests.worlds.golden"


def complaint(asset: str, now: Golden, before: Golden) -> str | None:
    """What is to be done about a stage; None where its output is what was recorded."""
    if now == before:
        return None
    if now.version == before.version and now.inputs == before.inputs:
        return (
            f"{asset} gives another output on the same input, but its version is still {now.version}: raise VERSION in "
            f"the room of the stage (llm_assets/stages/<stage>/__init__.py), then `{RECORD}`. If the change of output "
            "is not wanted, find it"
        )
    return f"{asset} was recorded with another version or other inputs: record it anew with `{RECORD}`"


def test_outputs_are_those_that_were_recorded() -> None:
    now, before = made_now(), recorded()
    assert list(now) == list(before), f"record the stages anew with `{RECORD}`"
    assert [why for asset in now if (why := complaint(asset, now[asset], before[asset]))] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"digest": "other"}, "raise VERSION"),
        ({"digest": "other", "version": "2"}, "record it anew"),
        ({"inputs": {"a": "2"}, "digest": "other"}, "record it anew"),
    ],
)
def test_it_says_what_to_do(change: dict[str, object], says: str) -> None:
    before = Golden("1", {"a": "1"}, "digest")
    why = complaint("docs/cleaned", replace(before, **change), before)  # pyright: ignore[reportArgumentType]
    assert why is not None and says in why
    assert complaint("docs/cleaned", before, before) is None
