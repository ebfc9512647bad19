"""Unicode normalisation of a text column.

Guarantees the result of `unicodedata.normalize` on every text, while looking only at texts that are not ASCII
and copying the column only where one of them changes.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llm_assets.kernels.arrow import byte_lengths
from llm_assets.stages.clean.edit.parameters import Form
from llm_assets.stages.clean.texts import text_buffers

_MANY: Final = 32  # more marks on one letter than any language has


@dataclass(frozen=True)
class Normalised:
    """The texts; how many of them changed; and by how many bytes of UTF-8 these grew or shrank, all added up."""

    texts: pa.LargeStringArray
    changed_documents: int
    changed_bytes: int


def normalise_text(text: str, form: Form) -> str:
    """One text in the form; "none" leaves it alone."""
    if form == "none" or unicodedata.is_normalized(form, text):
        return text
    # Python sorts the marks on a letter in quadratic time, unless they are in order already.
    return unicodedata.normalize(form, _many_marks().sub(_in_order, text))


@cache
def _many_marks() -> re.Pattern[str]:
    marks = "".join(chr(code) for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code)))
    return re.compile(f"[{marks}]{{{_MANY},}}")


def _in_order(marks: re.Match[str]) -> str:
    decomposed = "".join(unicodedata.normalize("NFD", mark) for mark in marks[0])
    return "".join(sorted(decomposed, key=unicodedata.combining))


def normalise(texts: pa.LargeStringArray, form: Form) -> Normalised:
    """The column in the form, row for row. Raises as `text_buffers` does, and UnicodeDecodeError on bad UTF-8."""
    offsets, data = text_buffers(texts)
    if form == "none":
        return Normalised(texts, 0, 0)
    changed = np.zeros(len(texts), np.bool_)
    replacements: list[str] = []
    # ASCII is in every form, and an ASCII text is told from its bytes at memory speed.
    candidates = ~pc.call_function("string_is_ascii", [texts]).to_numpy(zero_copy_only=False)
    for document in np.flatnonzero(candidates).tolist():
        text = str(data[offsets[document] : offsets[document + 1]].data, "utf-8")
        normal = normalise_text(text, form)
        if normal != text:
            changed[document] = True
            replacements.append(normal)
    if not replacements:
        return Normalised(texts, 0, 0)
    result = pc.call_function(
        "replace_with_mask", [texts, pa.array(changed), pa.array(replacements, pa.large_string())]
    )
    change = np.abs(byte_lengths(result) - np.diff(offsets))
    return Normalised(result, len(replacements), int(change.sum()))
