"""Scores of a transformers sequence classifier, on the CPU. The library is an extra, imported when a model asks for it.

Guarantees that no code or pickle from the model's folder is run: weights are safetensors, and the classes are
those of the library. A score may differ in its seventh digit with the texts of its batch, so it has six.
"""

from __future__ import annotations

import importlib
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.stages.clean.quality.contract import QualityModelError
from llm_assets.stages.clean.texts import text_buffers
from llm_assets.store.frozen_model import FrozenModel

_DIGITS: Final = 6
_CHARACTERS_PER_TOKEN: Final = 32  # far more than any tokenizer's mean: what is cut off would have been truncated


@dataclass(frozen=True)
class TransformerScorer:
    """Scores by the probability of a label, or by the one number that a model gives, as a share of `maximum`."""

    digest: str
    tokenizer: Any
    network: Any
    label: int | None
    maximum: float | None
    max_tokens: int
    batch: int
    _tokenizing: threading.Lock = field(default_factory=threading.Lock)  # a tokenizer keeps padding as its state

    def score(self, texts: pa.LargeStringArray) -> npt.NDArray[np.float64]:
        """See `Scorer`. Of a longer text the first `max_tokens` tokens count."""
        offsets, _ = text_buffers(texts)
        scores = np.zeros(len(texts), np.float64)
        order = np.argsort(np.diff(offsets), kind="stable")  # texts of like length together: less padding
        for begin in range(0, len(order), self.batch):
            places = order[begin : begin + self.batch]
            scores[places] = self._score_batch(texts.take(pa.array(places)).to_pylist())
        return scores

    def _score_batch(self, texts: list[str]) -> npt.NDArray[np.float64]:
        torch = _imported("torch")
        texts = [text[: self.max_tokens * _CHARACTERS_PER_TOKEN] for text in texts]
        with self._tokenizing:
            tokens = self.tokenizer(
                texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            )
        with torch.inference_mode():
            logits = self.network(**tokens).logits.double()
            if self.label is None:
                assert self.maximum is not None
                scores = (logits[:, 0] / self.maximum).clamp(0, 1)
            else:
                scores = logits.softmax(dim=1)[:, self.label]
        return np.round(scores.numpy(), _DIGITS)


def open_transformer(model: FrozenModel) -> TransformerScorer:
    """The scorer of a model. Raises QualityModelError, and ModuleNotFoundError where the extra is not installed."""
    tokenizer, network = _loaded(model)
    settings = model.settings
    label = _label_number(network.config, settings)
    _check_length(network.config, settings["max_tokens"])
    return TransformerScorer(
        digest=model.digest,
        tokenizer=tokenizer,
        network=network.float().eval(),
        label=label,
        maximum=settings["maximum"],
        max_tokens=settings["max_tokens"],
        batch=settings["batch"],
    )


def _loaded(model: FrozenModel) -> tuple[Any, Any]:
    """Tokenizer and network. Raises QualityModelError, also for a network whose weights are not all there."""
    transformers = _imported("transformers")
    errors = (OSError, ValueError, KeyError, _imported("safetensors").SafetensorError)
    local = {"local_files_only": True, "trust_remote_code": False}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in model.files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
            network, found = transformers.AutoModelForSequenceClassification.from_pretrained(
                folder, use_safetensors=True, output_loading_info=True, **local
            )
        except errors as error:
            raise QualityModelError(f"this transformers folder cannot be used: {error}") from error
    if found["missing_keys"]:
        # the library would make them up at random
        missing = ", ".join(sorted(found["missing_keys"]))
        raise QualityModelError(f"this transformers folder is no trained classifier: it has no weights for {missing}")
    return tokenizer, network


def _label_number(config: Any, settings: Any) -> int | None:
    """Which output is the label's; None for a model with a single output. Raises QualityModelError."""
    label, maximum = settings["label"], settings["maximum"]
    if config.num_labels == 1:
        if maximum is None:
            raise QualityModelError("the model gives one number, no probability: say which is best with `maximum`")
        return None
    if label is None:
        raise QualityModelError(f"say which `label` is the good one; there are: {', '.join(config.label2id)}")
    if label not in config.label2id:
        raise QualityModelError(f"the model has no label {label!r}; it has: {', '.join(config.label2id)}")
    return int(config.label2id[label])


def _check_length(config: Any, max_tokens: int) -> None:
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and max_tokens > positions:
        raise QualityModelError(f"`max_tokens` is {max_tokens}, but the model takes at most {positions}")


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ModuleNotFoundError(
            f"{name} is not installed, and a transformers model needs it: pip install 'llm-assets[transformers]'",
            name=name,
        ) from error
