"""Every stage on fixed input, and the digests that came out when their versions were last raised.

`python -m llm_assets_tests.worlds.golden` records them anew. For tests only.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from llm_assets.contract.link import Link
from llm_assets.stages.clean.link import CleanedLink
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.dedup.link import DedupedLink
from llm_assets.stages.tokenize.link import TokenizedLink
from llm_assets_tests.worlds.world import World, jsonl, paragraphs

RECORDED = Path(__file__).with_name("golden.json")
PARAMETERS = CleanParameters.model_validate(
    {
        "gopher_repetition": {},
        "c4": {},
        "fineweb": {},
        "lines": {"javascript": True, "citations": True, "policy": True, "min_words": 2, "max_word_length": 1000},
        "repair": {"mojibake": True, "line_breaks": True, "control_characters": True, "zero_width": True},
        "pii": {"email": "mask", "phone": "mask", "iban": "drop"},
    }
)
"""Nearly everything that cleaning can do without a file of the user's."""
SCRIPTS = {
    "de": "Die Mühle am Fluss mahlt seit 1884 Getreide, und der Müller grüßt jeden, der über die Brücke geht. ",
    "el": "Ο μυλωνάς χαιρετά όποιον περνά το γεφύρι, και το νερό του ποταμού κυλά ήσυχα προς τη θάλασσα. ",
    "ru": "Мельник здоровается с каждым, кто идёт через мост, и река тихо течёт к морю. ",
    "ar": "يحيي الطحان كل من يعبر الجسر، وماء النهر يجري بهدوء نحو البحر. ",
    "hi": "चक्कीवाला पुल पार करने वाले हर व्यक्ति को नमस्ते करता है और नदी समुद्र की ओर बहती है। ",
    "zh": "磨坊主向每一个过桥的人问好，河水静静地流向大海。",
    "th": "เจ้าของโรงสีทักทายทุกคนที่ข้ามสะพาน และแม่น้ำไหลอย่างเงียบๆ ลงสู่ทะเล ",
}


@dataclass(frozen=True)
class Golden:
    """The output of a stage on fixed input: its version, the digests of what it read and of what it made."""

    version: str
    inputs: dict[str, str]
    digest: str


def made_now() -> dict[str, Golden]:
    """Every stage, run on the fixed input with the code of today, by asset and partition."""
    with tempfile.TemporaryDirectory() as folder:
        world = _world(Path(folder))
        _land(world)
        world.run_all()
        links: list[tuple[Link[Any], str]] = [(link, "2026-01") for link in world.docs.lineage]
        links += [(world.tokenizer, ""), (world.mixed, "v1")]
        return {link.asset: _golden(world, link, partition) for link, partition in links}


def recorded() -> dict[str, Golden]:
    """What was recorded when the versions were last raised."""
    return {asset: Golden(**entry) for asset, entry in json.loads(RECORDED.read_text()).items()}


def version_of(link: Link[Any]) -> str:
    """The version that the room of a link declares."""
    room = type(link).__module__.rpartition(".")[0]
    return import_module(room).VERSION


def _golden(world: World, link: Link[Any], partition: str) -> Golden:
    manifest = link.committed(world.store, partition)
    assert manifest is not None
    read = {name: each.digest for name, each in sorted(manifest.inputs.items()) if not name.startswith("landing/")}
    return Golden(version_of(link), read, manifest.digest)


def _world(folder: Path) -> World:
    world = World.below(folder, workers=1)
    deduped = world.docs.tokenized.documents
    assert isinstance(deduped, DedupedLink) and isinstance(deduped.documents, CleanedLink)
    cleaned = replace(deduped.documents, parameters=PARAMETERS)
    deduped = replace(deduped, documents=cleaned)
    code = world.code.tokenized.documents
    tokenizer = replace(world.tokenizer, sources=(deduped, code))
    docs = replace(world.docs, tokenized=TokenizedLink("docs", deduped, tokenizer))
    other = replace(world.code, tokenized=replace(world.code.tokenized, tokenizer=tokenizer))
    return replace(world, docs=docs, code=other, mixed=replace(world.mixed, sources=(docs, other)))


def _land(world: World) -> None:
    scripts = [text * 12 for text in SCRIPTS.values()]
    odd = [
        *(f"{text} Write to anna.o'neil+news@example.org or call +49 30 901820. " for text in paragraphs(70, 74)),
        *(text.replace(" ", "\r\n", 9) for text in paragraphs(74, 77)),
        *(text + " It cost â‚¬ 12 in the cafÃ©." for text in paragraphs(77, 80)),
        *("\n".join([text] * 4) for text in paragraphs(80, 82)),
        "Too short.",
    ]
    files = {
        "a.jsonl": jsonl([*paragraphs(0, 30), *odd], lang="en"),
        "b.jsonl": jsonl([*scripts, *paragraphs(20, 40)]) + b'{"text": "cut\n',
        "c.txt": " ".join(paragraphs(100, 130)).encode(),
    }
    world.land("docs", "2026-01", files)
    world.land("code", "2026-01", {"a.jsonl": jsonl(paragraphs(200, 240))})


def record() -> None:
    """Write the digests of today to `golden.json`."""
    entries = {asset: asdict(golden) for asset, golden in made_now().items()}
    RECORDED.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    record()
