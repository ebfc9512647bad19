"""Parameters of edits of text: repairs, the Unicode form, edits of lines."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llm_assets.contract.stage import Parameters

Form = Literal["NFC", "NFKC", "none"]
"""A Unicode normalisation form; "none" leaves texts alone."""

_Bound = Annotated[int | None, Field(ge=1)]


class Repairs(Parameters):
    """Repairs before Unicode normalisation; all off by default.

    `mojibake`: UTF-8 that was decoded as some other encoding, as ftfy finds it, in lines that a cheap test suspects.
    `line_breaks`: whatever `str.splitlines` splits at, "\\r\\n" included, becomes "\\n".
    `control_characters`: those of category Cc are removed, but for the tab and what breaks a line.
    `zero_width`: the characters of `ZERO_WIDTH` are removed.
    """

    mojibake: bool = False
    line_breaks: bool = False
    control_characters: bool = False
    zero_width: bool = False


class LineEdits(Parameters):
    """Edits of the lines of a text, as `str.splitlines` divides it; all off by default.

    The rules of C4: Raffel et al. 2020, arXiv:1910.10683, section 2.2, and its code, which adds the policy lines, the
    longest word and the citations; as datatrove 0.10.1 applies them, in this order. Where C4 has a value it is given:

    - `max_word_length` (1000): a line with a longer word, in characters, is dropped.
    - `citations`: "[edit]", "[citation needed]" and "[", digits, "]" are removed, the digits 0 to 9 and perhaps none.
    - `terminal_punctuation`: a line whose last character, of what is left of it stripped, is none of . ? ! " ' is
      dropped, and one that ends with "...".
    - `min_words` (3): a line of fewer words, citations included, is dropped.
    - `javascript`, `policy`: a line with that word, or a phrase of `phrases.POLICY`, in whatever case, is dropped.
    - `strip`: lines are stripped of white space and end with "\\n", the text is stripped. Else lines that stay keep
      their spaces and line breaks.
    """

    max_word_length: _Bound = None
    citations: bool = False
    terminal_punctuation: bool = False
    min_words: _Bound = None
    javascript: bool = False
    policy: bool = False
    strip: bool = False
