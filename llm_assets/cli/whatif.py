"""`llm-assets whatif`: what other thresholds would keep and drop, for a person or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from llm_assets.stages.clean.rules import Rule
from llm_assets.stages.clean.whatif.examples import Example
from llm_assets.stages.clean.whatif.whatif import OtherwiseStored, RuleChange, WhatIf
from llm_assets.store.ledger import Count

_ARROW = " → "


def as_json(asset: str, found: WhatIf) -> dict[str, Any]:
    """All of it, for a program."""
    amounts = ("judged", "kept_before", "kept_after", "newly_kept", "newly_dropped")
    return {
        "asset": asset,
        "snapshots": list(found.snapshots),
        **{name: _amount(getattr(found, name)) for name in amounts},
        "quarantined": found.quarantined,
        "rules": [_rule_json(each) for each in found.rules],
        "languages": {"before": found.languages_before, "after": found.languages_after},
        "examples": [asdict(each) for each in found.examples],
        "stored_otherwise": [asdict(each) for each in found.stored_otherwise],
    }


def _amount(count: Count) -> dict[str, int]:
    return {"documents": count.documents, "bytes": count.bytes}


def _rule_json(change: RuleChange) -> dict[str, Any]:
    amounts = ("dropped_before", "dropped_after", "newly_kept", "newly_dropped")
    return {
        "rule": change.name,
        "before": None if change.before is None else asdict(change.before),
        "after": None if change.after is None else asdict(change.after),
        **{name: _amount(getattr(change, name)) for name in amounts},
    }


def report(asset: str, found: WhatIf) -> RenderableType:
    """All of it, for a person."""
    parts: list[RenderableType] = [Text(f"{asset}  {', '.join(found.snapshots)}", style="bold"), _totals(found)]
    parts += [Text(), _rules(found)]
    parts += [part for each in _by_rule(found) for part in (Text(), _examples(each))]
    parts += [Text(f"note: {_stale(asset, each)}", style="yellow") for each in found.stored_otherwise]
    return Group(*parts)


def _totals(found: WhatIf) -> Table:
    table = _table(("", "left"), ("documents", "right"), ("bytes", "right"), ("of the documents", "right"))
    lines = {
        "judged": found.judged,
        "kept before": found.kept_before,
        "kept after": found.kept_after,
        "newly kept": found.newly_kept,
        "newly dropped": found.newly_dropped,
    }
    for name, count in lines.items():
        share = count.documents / found.judged.documents if found.judged.documents else 0.0
        table.add_row(name, f"{count.documents:,}", f"{count.bytes:,}", f"{share:.2%}")
    if found.quarantined:
        table.add_row("in quarantine", f"{found.quarantined:,}", "·", "not judged")
    return table


def _rules(found: WhatIf) -> Table:
    """A line for every rule that drops, or whose threshold changes: the first that a document breaks counts."""
    table = _table(
        ("first broken rule", "left"),
        ("threshold", "left"),
        *((name, "right") for name in ("dropped before", "after", "change", "newly kept", "newly dropped")),
    )
    for each in found.rules:
        before, after = each.dropped_before.documents, each.dropped_after.documents
        thresholds = _thresholds(each, found)
        if before or after or _ARROW in thresholds:
            cells = [f"{before:,}", f"{after:,}", f"{after - before:+,}" if after != before else "·"]
            cells += [
                f"{count.documents:,}" if count.documents else "·" for count in (each.newly_kept, each.newly_dropped)
            ]
            table.add_row(each.name, thresholds, *cells, style="bold" if _ARROW in thresholds else "")
    return table


def _thresholds(change: RuleChange, found: WhatIf) -> str:
    if change.name == "language.allow":
        was, now = (", ".join(each) if each else "off" for each in (found.languages_before, found.languages_after))
    else:
        was, now = (_threshold(rule) for rule in (change.before, change.after))
    return now if was == now else f"{was}{_ARROW}{now}"


def _threshold(rule: Rule | None) -> str:
    return "off" if rule is None else f"{rule.bound} {rule.threshold:,.6g}"


def _by_rule(found: WhatIf) -> Iterator[list[Example]]:
    for name in dict.fromkeys(each.rule for each in found.examples):
        yield [each for each in found.examples if each.rule == name]


def _examples(examples: list[Example]) -> Table:
    """The examples of one rule, on either side."""
    table = _table((examples[0].rule, "left"), ("value", "right"), ("document", "left"), ("becomes", "left"))
    table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    table.expand = True
    for each in examples:
        language = f" {each.language}" if each.rule.startswith("language.") else ""
        table.add_row(
            "breaks it" if each.breaks else "passes",
            f"{each.value:,.6g}{language}",
            Text(f"{each.snapshot}/{each.file}:{each.record}"),
            _fate(each),
            Text(each.text),
        )
    return table


def _fate(example: Example) -> str:
    before, after = ("kept" if kept else "dropped" for kept in (example.kept_before, example.kept_after))
    return f"still {after}" if before == after else f"[bold]{before} → {after}[/]"


def _stale(asset: str, stored: OtherwiseStored) -> str:
    if not stored.documents and not stored.rules:
        effect = "they give what is stored"
    else:
        rules = f", and other numbers are dropped by {', '.join(stored.rules)}" if stored.rules else ""
        effect = f"{stored.documents:,} documents are stored with another verdict{rules}"
    return (
        f"{asset}[{stored.snapshot}] was not made with the parameters declared now, which are what 'before' means:"
        f" {effect}; make it again to store these"
    )


def _table(*columns: tuple[str, Any]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=True)
    return table
