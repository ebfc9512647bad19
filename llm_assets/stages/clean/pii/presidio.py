"""The engine of presidio: names and places by a model of the language, and what its own patterns know.

Guarantees spans in bytes as those of `find`, without the network: it downloads neither models nor lists. Presidio is
an optional dependency, imported at the first text. What is done with the spans is not decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.errors import LlmAssetsError
from llm_assets.stages.clean.pii.parameters import PresidioParameters
from llm_assets.stages.clean.pii.spans import KINDS, Find, Kind, Spans, without_overlaps
from llm_assets.stages.clean.texts import text_buffers

ENTITIES: Final = {
    Kind.EMAIL: "EMAIL_ADDRESS",
    Kind.IP: "IP_ADDRESS",
    Kind.PHONE: "PHONE_NUMBER",
    Kind.CREDIT_CARD: "CREDIT_CARD",
    Kind.US_SSN: "US_SSN",
    Kind.IBAN: "IBAN_CODE",
    Kind.PERSON: "PERSON",
    Kind.LOCATION: "LOCATION",
}
"""Presidio's name of each kind that it finds."""

MAX_PIECE: Final = 100_000
"""Characters given to the model at once. spaCy needs about a gigabyte for this many, and refuses ten times as many."""


class PresidioMissingError(LlmAssetsError, ImportError):
    """The optional dependency is not installed."""


def find_with_presidio(
    texts: pa.LargeStringArray, parameters: PresidioParameters, ranks: Sequence[Sequence[Kind]] = (KINDS,)
) -> Spans:
    """Spans of the kinds that the parameters name, overlaps resolved as `without_overlaps` does for these ranks.

    Texts longer than `MAX_PIECE` characters are searched piece by piece, cut at a line's end or a space. Raises
    `PresidioMissingError` where presidio is not installed, ValueError where spaCy cannot load the model, and
    otherwise as `text_buffers` does.
    """
    offsets, data = text_buffers(texts)
    finds: list[Find] = []
    for document in range(len(texts)):
        text = str(data[offsets[document] : offsets[document + 1]].data, "utf-8")
        finds += [Find(document, *extent) for extent in _extents(text, parameters)]
    return Spans.of(without_overlaps(finds, ranks))


def _extents(text: str, parameters: PresidioParameters) -> Iterator[tuple[int, int, int]]:
    """Start and stop in bytes, and kind."""
    codes = {ENTITIES[kind]: KINDS.index(kind) for kind in parameters.kinds}
    analyzer = _analyzer(parameters.model, parameters.language)
    positions = _byte_positions(text)
    for start, stop in _pieces(text):
        results = analyzer.analyze(
            text=text[start:stop],
            language=parameters.language,
            entities=list(codes),
            score_threshold=parameters.min_score,
        )
        for result in results:
            yield (
                int(positions[start + result.start]),
                int(positions[start + result.end]),
                codes[result.entity_type],
            )


def _byte_positions(text: str) -> npt.NDArray[np.int64]:
    """Where each character of the text, and its end, are in its UTF-8: int64[characters + 1]."""
    encoded = np.frombuffer(text.encode(), np.uint8)
    return np.append(np.flatnonzero((encoded & 0xC0) != 0x80), len(encoded))


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Start and stop of pieces of at most `MAX_PIECE` characters, cut after a line, or else a space, or else there."""
    start = 0
    while len(text) - start > MAX_PIECE:
        window = text[start : start + MAX_PIECE]
        stop = start + (window.rfind("\n") + 1 or window.rfind(" ") + 1 or MAX_PIECE)
        yield start, stop
        start = stop
    yield start, len(text)


@cache
def _analyzer(model: str | None, language: str) -> Any:
    presidio, engines, spacy = (
        _imported(name) for name in ("presidio_analyzer", "presidio_analyzer.nlp_engine", "spacy")
    )
    try:
        pipeline = spacy.blank(language) if model is None else spacy.load(model)
    except (OSError, ImportError) as error:
        raise ValueError(f"spaCy cannot load {model or language!r}, which pii.presidio names: {error}") from error
    # Its own loading would download a model that is missing, and its e-mail recogniser asks tldextract, whose default
    # is to fetch the list of suffixes.
    engine = engines.SpacyNlpEngine(models=[{"lang_code": language, "model_name": model or "blank"}])
    engine.nlp = {language: pipeline}
    tldextract = _imported("tldextract.tldextract")
    tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())
    return presidio.AnalyzerEngine(nlp_engine=engine, supported_languages=[language])


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise PresidioMissingError(
            f"pii.engine is presidio, but {error.name or name} is not installed: pip install 'llm-assets[presidio]'"
        ) from error
