"""fastText model files with random weights, in every form that the reader takes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HIERARCHICAL, NEGATIVE, SOFTMAX = 1, 2, 3
WORDS = ["</s>", "the", "of", "naïve", "日本", "x", "<b>", "zażółć"]


@dataclass(frozen=True)
class ModelFile:
    """What a model file says. `pruned` is how many buckets have a row; None: all of them."""

    loss: int = HIERARCHICAL
    words: Sequence[str] = tuple(WORDS)
    labels: int = 5
    label_prefix: str = "__label__"
    dimension: int = 6
    buckets: int = 300
    pruned: int | None = None
    shortest: int = 2
    longest: int = 4
    word_ngrams: int = 1
    kind: int = 3
    quantised: bool = False
    norms: bool = True
    quantised_output: bool = False
    magic: int = 793712314
    seed: int = 0

    def encode(self) -> bytes:
        """The file's bytes."""
        random = np.random.default_rng(self.seed)
        rows = len(self.words) + (self.buckets if self.pruned is None else self.pruned)
        output = random.normal(size=(self.labels, self.dimension)).astype(np.float32)
        return b"".join(
            [
                self._arguments(),
                self._dictionary(random),
                self._quantised(random, rows) if self.quantised else self._dense(random, rows),
                struct.pack("<?qq", self.quantised_output, *output.shape) + output.tobytes(),
            ]
        )

    def _arguments(self) -> bytes:
        header = struct.pack("<ii", self.magic, 12)
        numbers = [self.dimension, 5, 5, 1, 5, self.word_ngrams, self.loss, self.kind, self.buckets]
        return header + struct.pack("<12id", *numbers, self.shortest, self.longest, 100, 1e-4)

    def _dictionary(self, random: np.random.Generator) -> bytes:
        counts = sorted(random.integers(1, 1000, self.labels).tolist(), reverse=True)
        pruned = -1 if self.pruned is None else self.pruned
        parts = [struct.pack("<iiiqq", len(self.words) + self.labels, len(self.words), self.labels, 99, pruned)]
        parts += [word.encode() + struct.pack("<xqb", 7, 0) for word in self.words]
        parts += [f"{self.label_prefix}{n}".encode() + struct.pack("<xqb", c, 1) for n, c in enumerate(counts)]
        if self.pruned is not None:
            buckets = random.permutation(self.buckets)[: self.pruned].astype(np.int32)
            parts.append(np.stack([buckets, np.arange(self.pruned, dtype=np.int32)], axis=1).tobytes())
        return b"".join(parts)

    def _dense(self, random: np.random.Generator, rows: int) -> bytes:
        matrix = random.normal(size=(rows, self.dimension)).astype(np.float32)
        return struct.pack("<?qq", False, *matrix.shape) + matrix.tobytes()

    def _quantised(self, random: np.random.Generator, rows: int) -> bytes:
        width = 4
        parts = -(-self.dimension // width)
        codes = random.integers(0, 256, (rows, parts)).astype(np.uint8)
        centroids = random.normal(size=(256 * self.dimension)).astype(np.float32)
        data = struct.pack("<??qqi", True, self.norms, rows, self.dimension, codes.size) + codes.tobytes()
        data += struct.pack("<4i", self.dimension, parts, width, self.dimension - (parts - 1) * width)
        data += centroids.tobytes()
        if self.norms:
            data += random.integers(0, 256, rows).astype(np.uint8).tobytes()
            data += struct.pack("<4i", 1, 1, 1, 1) + random.uniform(0.5, 2, 256).astype(np.float32).tobytes()
        return data
