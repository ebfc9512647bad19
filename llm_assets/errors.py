"""The base of all errors that a person can put right."""

from __future__ import annotations


class LlmAssetsError(Exception):
    """Says what is wrong, `problem`, and what to do about it, `remedy`: empty where the problem says so itself."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem, self.remedy = problem, remedy

    def __str__(self) -> str:
        return f"{self.problem}: {self.remedy}" if self.remedy else self.problem
