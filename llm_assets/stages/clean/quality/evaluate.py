"""How well scores tell good documents from ordinary ones that the model has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]

THRESHOLD: Final = 0.5


@dataclass(frozen=True)
class Evaluation:
    """Scores of held-out documents, float64 [documents], of those that are good and of those that are ordinary.

    A document counts as taken for good where its score is at least 0.5.
    """

    good: Scores
    ordinary: Scores

    @property
    def true_good(self) -> int:
        """Good documents taken for good."""
        return int((self.good >= THRESHOLD).sum())

    @property
    def false_good(self) -> int:
        """Ordinary documents taken for good."""
        return int((self.ordinary >= THRESHOLD).sum())

    @property
    def accuracy(self) -> float:
        """Share of the documents taken for what they are; 0 where there is none."""
        right = self.true_good + len(self.ordinary) - self.false_good
        return _share(right, len(self.good) + len(self.ordinary))

    @property
    def precision(self) -> float:
        """Share of the documents taken for good that are; 0 where none is taken."""
        return _share(self.true_good, self.true_good + self.false_good)

    @property
    def recall(self) -> float:
        """Share of the good documents that are taken for good; 0 where there is none."""
        return _share(self.true_good, len(self.good))

    @property
    def auc(self) -> float:
        """How often a good document has a higher score than an ordinary one, ties counting half; 0 without pairs.

        The area under the ROC curve (Mann and Whitney 1947).
        """
        ordered = np.sort(self.ordinary)
        below = np.searchsorted(ordered, self.good, side="left") + np.searchsorted(ordered, self.good, side="right")
        return _share(int(below.sum()), 2 * len(self.good) * len(self.ordinary))

    def as_dict(self) -> dict[str, float | int]:
        """Every measure by name."""
        return {
            "accuracy": self.accuracy,
            "auc": self.auc,
            "precision": self.precision,
            "recall": self.recall,
            "good_taken_for_good": self.true_good,
            "good_taken_for_ordinary": len(self.good) - self.true_good,
            "ordinary_taken_for_good": self.false_good,
            "ordinary_taken_for_ordinary": len(self.ordinary) - self.false_good,
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
