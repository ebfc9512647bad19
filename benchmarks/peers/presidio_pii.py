"""presidio's own patterns over labelled texts: its analyzer as it comes, on a blank spaCy pipeline.

The job names `texts` (a JSON list of strings), the `entities` to look for, and a `work` folder. Its `finds.json` has
for each text a list of [entity, start, stop, score], in characters. Nothing is fetched from the network.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import spacy
import tldextract.tldextract
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import SpacyNlpEngine

from benchmarks.inside import Stopwatch, contend


def _analyzer() -> AnalyzerEngine:
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    texts: list[str] = json.loads(Path(job["texts"]).read_text())
    analyzer = _analyzer()

    def finds(text: str) -> list[tuple[str, int, int, float]]:
        results = analyzer.analyze(text=text, language="en", entities=job["entities"])
        return [(each.entity_type, each.start, each.end, each.score) for each in results]

    finds(texts[0])
    stopwatch = Stopwatch()
    with stopwatch.phase("find"):
        found = [finds(text) for text in texts]
    Path(job["work"], "finds.json").write_text(json.dumps(found))
    return stopwatch.report()


if __name__ == "__main__":
    contend(_run, ["presidio-analyzer", "spacy", "phonenumbers", "tldextract"])
