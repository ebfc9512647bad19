"""A fastText classifier of two classes, trained.

Guarantees the same bytes for the same texts in the same order: one thread, a seed, and a model file that
fastText reads. Which texts those are is the business of `draw`.
"""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import IO, Final

import pyarrow as pa

from llm_assets.errors import LlmAssetsError
from llm_assets.stages.clean.quality.draw import Drawn
from llm_assets.stages.clean.quality.parameters import QualityTrainParameters

GOOD: Final = "good"
ORDINARY: Final = "ordinary"

# What fastText takes for white space, and for no words: labels, and the end of a line.
_SPACE: Final = rb" \n\r\t\v\f\0"
_NO_WORD: Final = re.compile(rb"(?<![^%b])(?:__label__[^%b]*|</s>(?![^%b]))" % (_SPACE, _SPACE, _SPACE))

# floret's header is fastText's with two more int32 (its mode and its number of hashes) after the first 13 numbers.
_FLORET_FIELDS: Final = slice(52, 60)
_TWO_INT32: Final = b"\1\0\0\0\1\0\0\0"


class TrainerError(LlmAssetsError, RuntimeError):
    """The trainer did not write the model that was asked for."""


def train_classifier(drawn: Drawn, parameters: QualityTrainParameters) -> bytes:
    """The bytes of a fastText model file with the labels "good" and "ordinary".

    Supervised softmax (Joulin et al. 2016, arXiv:1607.01759) by floret, which is fastText with one more mode. Texts of
    the two classes alternate. Raises ModuleNotFoundError, with what to install, where floret is missing.
    """
    floret = _floret()
    with tempfile.TemporaryDirectory() as folder:
        texts, model = Path(folder) / "texts", Path(folder) / "model"
        with texts.open("wb") as file:
            _write(file, drawn)
        trained = floret.train_supervised(
            str(texts),
            mode="fasttext",
            loss="softmax",
            label="__label__",
            dim=parameters.dimension,
            wordNgrams=parameters.word_ngrams,
            minn=0,
            maxn=0,
            bucket=parameters.buckets,
            minCount=parameters.min_count,
            lr=parameters.learning_rate,
            epoch=parameters.epochs,
            seed=parameters.seed + 1,  # to fastText's generator, 0 and 1 are the same
            thread=1,
            verbose=0,
        )
        trained.save_model(str(model))
        return _as_fasttext(model.read_bytes())


def _write(file: IO[bytes], drawn: Drawn) -> None:
    pairs = zip(_lines(drawn.good.train, GOOD), _lines(drawn.ordinary.train, ORDINARY), strict=True)
    file.writelines(chain.from_iterable(pairs))


def _lines(texts: pa.LargeStringArray, label: str) -> Iterator[bytes]:
    """Each text as the line that fastText would be asked about, after its label."""
    for text in texts:
        yield b"__label__%b %b\n" % (
            label.encode(),
            _NO_WORD.sub(b"", text.as_buffer().to_pybytes()).replace(b"\n", b" "),
        )


def _as_fasttext(data: bytes) -> bytes:
    """floret's file without what fastText does not know. Raises TrainerError."""
    if data[_FLORET_FIELDS] != _TWO_INT32:
        raise TrainerError("floret wrote a model file in another format than its version 0.10 does")
    return data[: _FLORET_FIELDS.start] + data[_FLORET_FIELDS.stop :]


def _floret() -> ModuleType:
    try:
        return importlib.import_module("floret")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "floret is not installed, and training a quality model needs it: pip install 'llm-assets[quality]'",
            name=error.name,
        ) from error
