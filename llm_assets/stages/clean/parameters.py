"""Parameters of cleaning, as a source's YAML gives them.

Guarantees that what validates can be carried out, as far as that can be told without reading another file, and that
the rules come in one order, the order in which they count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, Self, cast

from pydantic import Field, field_validator, model_validator

from llm_assets.contract.by_hash import SplitParameters
from llm_assets.contract.stage import Parameters
from llm_assets.stages.clean.blocklist.parameters import Blocklist, require_distinct
from llm_assets.stages.clean.custom import Edit, Statistic
from llm_assets.stages.clean.edit.parameters import Form, LineEdits, Repairs
from llm_assets.stages.clean.language.language import Identifier, LanguageParameters
from llm_assets.stages.clean.measure.statistics import STATISTICS_TYPE, WordSplit
from llm_assets.stages.clean.pii.parameters import Action, PiiParameters
from llm_assets.stages.clean.pii.spans import PATTERN_KINDS
from llm_assets.stages.clean.published_rules import C4, GOPHER_STOP_WORDS, FineWeb, GopherQuality, GopherRepetition
from llm_assets.stages.clean.rules import Bound, Entry, Fraction, HasRules, LengthRule, Range, Rule, RuleSet

OTHER_LANGUAGES: Final = "*"
"""Among stop words by language, the list for languages that have none of their own."""


class QualityScore(Entry):
    """A learned model that scores every document: statistic `quality.<model>`, 0 to 1.

    `model` is the name of a declared quality model. With `min_score`, a document that scores less is rejected.
    """

    key: ClassVar[str] = "model"
    model: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    min_score: Fraction = None

    @property
    def statistic(self) -> str:
        """The name of the score among the statistics."""
        return f"quality.{self.model}"

    def rules(self) -> Iterator[Rule]:
        """The rule, where there is a minimum."""
        if self.min_score is not None:
            yield Rule(f"{self.statistic}.min_score", self.statistic, Bound.AT_LEAST, self.min_score)


def labels_only() -> LanguageParameters:
    """The language of every document is told, and none is dropped for it."""
    return LanguageParameters(min_confidence=None)


def flags_only() -> PiiParameters:
    """The default of `pii`: matches of patterns are counted, and stay in the text."""
    return PiiParameters.model_validate({kind.value: Action.FLAG for kind in PATTERN_KINDS})


def _is_empty(value: Sequence[object]) -> bool:
    return not value


class CleanParameters(Parameters):
    """The edits of a document's text, in the order of the first five fields, and the rules that then judge it.

    `repair` and `lines` do nothing unless told to; `edits` and `statistics` are code that the user supplies. Unless
    told otherwise `pii` counts what patterns find and `language` labels documents; given as `{}` they mask, and ask for
    the published confidence. With null neither is looked at. `words` says what separates the words that statistics
    count: white space, or punctuation marks too, which are words themselves; the edits of lines count those at white
    space. `stop_words` (1 to 64 words) is what the statistic `stop_words` counts: of all documents, or a list by
    language, with one for all others under "*". A rule set is switched off with null; those null here are switched on,
    with their published thresholds, by `{}`. `quality` names learned models. `thresholds` are free ones, by statistic.
    A document that breaks several rules counts as dropped by the first, in the order of `rule_groups`. `splits` assigns
    documents to splits, folds and shards, and drops none.
    """

    repair: Repairs = Repairs()
    edits: tuple[Edit, ...] = Field(default=(), exclude_if=_is_empty)
    normalise: Form = "NFC"
    lines: LineEdits = LineEdits()
    pii: PiiParameters | None = Field(default_factory=flags_only)
    words: WordSplit = "white_space"
    stop_words: tuple[str, ...] | dict[str, tuple[str, ...]] = GOPHER_STOP_WORDS
    length: LengthRule | None = LengthRule()
    language: LanguageParameters | None = Field(default_factory=labels_only)
    blocklists: tuple[Blocklist, ...] = ()
    gopher_quality: GopherQuality | None = GopherQuality()
    gopher_repetition: GopherRepetition | None = None
    c4: C4 | None = None
    fineweb: FineWeb | None = None
    quality: tuple[QualityScore, ...] = ()
    statistics: tuple[Statistic, ...] = Field(default=(), exclude_if=_is_empty)
    thresholds: dict[str, Range] = Field(default_factory=dict[str, Range])
    splits: SplitParameters | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are named, each once: those of blocklists, and a model of languages."""
        model = self.language.model if self.language else None
        lists = [uri for each in self.blocklists for uri in each.files]
        return tuple(dict.fromkeys([*lists, *([model] if model is not None else [])]))

    @property
    def rule_groups(self) -> dict[str, tuple[Rule, ...]]:
        """The rules switched on by the field that switches them on, in the order in which they count.

        That is the order of the fields, but that `pii`, which comes early since it edits, judges before `quality`.
        """
        names = [name for name in type(self).model_fields if name != "pii"]
        names.insert(names.index("quality"), "pii")
        groups = {name: tuple(_rules(name, getattr(self, name))) for name in names}
        return {name: rules for name, rules in groups.items() if rules}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule switched on, in the order in which they count."""
        return tuple(rule for group in self.rule_groups.values() for rule in group)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The name of every number there is of a document: those of `measure`, and those that other fields add."""
        return (
            *STATISTICS_TYPE.names,
            *(["language_confidence"] if self.language else []),
            *(f"pii.{kind.value}" for kind in (self.pii.kinds() if self.pii else ())),
            *(each.statistic for each in (*self.blocklists, *self.quality)),
            *(each.label for each in self.statistics),
        )

    @field_validator("stop_words")
    @classmethod
    def _countable(cls, words: tuple[str, ...] | dict[str, tuple[str, ...]]) -> object:
        from llm_assets.stages.clean.measure.count import StopWords  # late: few sources have words of their own

        for each in words.values() if isinstance(words, dict) else [words]:
            if not each:
                raise ValueError("stop_words is empty: to judge without, set gopher_quality.min_stop_words to null")
            StopWords.of(each)
        if isinstance(words, dict) and OTHER_LANGUAGES not in words:
            raise ValueError(f"there is no list {OTHER_LANGUAGES!r}, for the languages that are not named")
        return words

    @field_validator("blocklists")
    @classmethod
    def _distinct_lists(cls, blocklists: tuple[Blocklist, ...]) -> tuple[Blocklist, ...]:
        require_distinct(blocklists)
        return blocklists

    @field_validator("quality", "edits", "statistics")
    @classmethod
    def _distinct(cls, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        names = [str(getattr(each, each.key)) for each in entries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return entries

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if isinstance(self.stop_words, dict):
            if self.language is None:
                raise ValueError("stop_words by language need the language of each document: language must not be null")
            if self.language.model is None:
                Identifier.bundled().require(tuple(set(self.stop_words) - {OTHER_LANGUAGES}))
        return self

    @model_validator(mode="after")
    def _stop_words_occur(self) -> Self:
        if self.words == "punctuation":
            from llm_assets.stages.clean.words.marks import words_of  # late: the kernels of words come with it

            lists = self.stop_words.values() if isinstance(self.stop_words, dict) else [self.stop_words]
            split = {word: words for each in lists for word in each if (words := words_of(word)) != [word]}
            for word, words in split.items():
                parts = " ".join(words)
                raise ValueError(f"stop word {word!r} never occurs with words: punctuation, which splits it: {parts}")
        return self

    @model_validator(mode="after")
    def _measured(self) -> Self:
        for name in self.thresholds:
            if name not in self.numbers:
                raise ValueError(f"thresholds: there is no statistic {name!r}; there are: {', '.join(self.numbers)}")
        return self


def _rules(name: str, value: object) -> Iterator[Rule]:
    """The rules that a field of that name and value switches on; none, if it is not about rules."""
    if isinstance(value, RuleSet):
        yield from value.rules(name)
    elif isinstance(value, HasRules):
        yield from value.rules()
    elif isinstance(value, tuple):
        for each in cast("tuple[object, ...]", value):
            yield from _rules(name, each)
    elif isinstance(value, dict):
        for statistic, each in cast("dict[str, object]", value).items():
            if isinstance(each, Range):
                yield from each.rules(f"{name}.{statistic}", statistic)
