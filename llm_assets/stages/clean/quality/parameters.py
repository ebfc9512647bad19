"""Parameters of a quality model: trained on two sources, or taken from a file or a folder."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from llm_assets.contract.stage import Parameters
from llm_assets.stages.clean.edit.parameters import Form


class DrawParameters(Parameters):
    """Which documents of a source are drawn, and how their text is prepared.

    A share of `held_out` is kept for the check of accuracy: which documents those are depends on `doc_id` and `seed`
    alone. Both sources give the same number of documents: at most `max_documents` (Li et al. 2024, arXiv:2406.11794,
    train on about 200,000 of each kind) and `max_bytes` of UTF-8; of each at most the first
    `max_document_characters`, in the Unicode form `normalise`, as the clean stage has it by default.
    """

    max_documents: int = Field(default=200_000, ge=1)
    max_bytes: int = Field(default=200_000_000, ge=1)
    max_document_characters: int = Field(default=100_000, ge=1)
    held_out: float = Field(default=0.1, gt=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=(1 << 31) - 1)
    normalise: Form = "NFC"


class QualityTrainParameters(DrawParameters):
    """Train a fastText classifier to tell documents of the source `good` from those of the source `ordinary`.

    Words and pairs of words are the features, as in DCLM's classifier (Li et al. 2024, arXiv:2406.11794);
    `learning_rate`, `epochs` and `buckets` are fastText's defaults for classifiers; words seen less than `min_count`
    times have no row of their own, as in Shao et al. 2024 (arXiv:2402.03300); 10 dimensions suffice for classes so
    few (Joulin et al. 2016, arXiv:1607.01759), and keep the model at 80 MB and what its words take.
    """

    good: str = Field(min_length=1)
    ordinary: str = Field(min_length=1)
    word_ngrams: int = Field(default=2, ge=1, le=5)
    dimension: int = Field(default=10, ge=2, le=1000)
    learning_rate: float = Field(default=0.1, gt=0)
    epochs: int = Field(default=5, ge=1)
    min_count: int = Field(default=3, ge=1)
    buckets: int = Field(default=2_000_000, ge=1, lt=1 << 31)

    @model_validator(mode="after")
    def _two_sources(self) -> Self:
        if self.good == self.ordinary:
            raise ValueError(
                f"`good` and `ordinary` are both {self.good!r}: a classifier needs two sources to tell apart"
            )
        return self


class FileParameters(Parameters):
    """Take a fastText classifier: the `path` (or URI) of a `.bin` or `.ftz`, and which of its labels is good."""

    path: str = Field(min_length=1)
    label: str = Field(min_length=1)


class TransformersParameters(Parameters):
    """Take a transformers sequence classifier: the `folder` (path or URI) that `save_pretrained` wrote.

    The score is the probability of `label`; of a model that gives one number only, that number as a share of
    `maximum` (the model of Penedo et al. 2024, arXiv:2406.17557, gives 0 to 5). Of longer texts the first
    `max_tokens` tokens count; `batch` texts are scored at once.
    """

    folder: str = Field(min_length=1)
    label: str | None = Field(default=None, min_length=1)
    maximum: float | None = Field(default=None, gt=0)
    max_tokens: int = Field(default=512, ge=8)
    batch: int = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if (self.label is None) == (self.maximum is None):
            raise ValueError("give either `label` (of a classifier) or `maximum` (of a model of one number)")
        return self


class QualityModelParameters(Parameters):
    """One of `train`, `file` and `transformers`."""

    train: QualityTrainParameters | None = None
    file: FileParameters | None = None
    transformers: TransformersParameters | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(origin is not None for origin in (self.train, self.file, self.transformers)) != 1:
            raise ValueError("give exactly one of `train`, `file` and `transformers`")
        return self
