"""Sentences counted by the marks that end them, as this project's statistics count them, for peers to use.

Guarantees the count of `llm_assets.stages.clean.measure.measure`, given its marks. Imports the standard library alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable


def sentence_counter(terminal: str, closing: str) -> Callable[[str], int]:
    """Counts the sentences of a line: per word that ends with a terminal mark, but for closing ones behind it.

    Within a word a sentence ends before whatever else follows a terminal mark from U+3000 on. What is behind the last
    end is a sentence too.
    """
    last = frozenset(terminal)
    closed = "".join(sorted(set(closing) - last))
    wide = "".join(re.escape(mark) for mark in sorted(last) if mark >= "\u3000")
    behind = "".join(map(re.escape, closed))
    inner = re.compile(f"[{wide}][{behind}]*(?=[^{behind}{re.escape(''.join(sorted(last)))}])")

    def count(line: str) -> int:
        sentences, unfinished = 0, False
        for word in line.split():
            if not word.isascii():
                sentences += len(inner.findall(word))
            kept = word.rstrip(closed)
            unfinished = not kept or kept[-1] not in last
            sentences += not unfinished
        return sentences + unfinished

    return count
