"""How e-mail addresses are written.

Guarantees that an address ends in a top-level domain that exists and begins where its local part does, with all the
characters that RFC 5322 allows there. Other operands of an @ (matrices, versions of packages) are left alone.
"""

from __future__ import annotations

import re
from typing import Final

from llm_assets.stages.clean.pii.pattern import Extent, Pattern
from llm_assets.stages.clean.pii.spans import Kind
from llm_assets.stages.clean.pii.top_level_domains import TOP_LEVEL_DOMAINS

MAX_LOCAL_CHARACTERS: Final = 64
MAX_DOMAIN_BYTES: Final = 253
"""Greatest lengths before and after the @ (RFC 5321, 4.5.3.1; RFC 1035 less the two bytes it does not show)."""

# U+00C0 to U+053F: letters (and marks) of Latin, Greek and Cyrillic, two bytes each. Scripts without spaces between
# words are left out, or the words before and after an address would become part of it.
_LETTER: Final = rb"[\xc3-\xd4][\x80-\xbf]"
_LABEL: Final = rb"(?:[A-Za-z0-9]|%b)(?:-{0,4}(?:[A-Za-z0-9]|%b)){0,62}" % (_LETTER, _LETTER)
_EMAIL: Final = re.compile(rb"@(?P<domain>%b(?:\.%b){1,10})" % (_LABEL, _LABEL))


def _email(match: re.Match[bytes]) -> Extent | None:
    """The address whose @ this is.

    `git@host` is how repositories are addressed, and nobody's mailbox.
    """
    start, stop = _local_start(match), _domain_stop(match)
    if start is None or stop is None or bytes(match.string[start : match.start()]) == b"git":
        return None
    return None if _CALL.match(bytes(match.string[stop : stop + _REACH_AFTER])) else (start, stop)


_REACH_AFTER: Final = 128
_CALL: Final = re.compile(rb"(?:\.[A-Za-z_][A-Za-z0-9_]*+)*+[(\[]")
"""A call or index after the domain: an attribute of an object, as in `X @ W.data.view(-1)` without spaces."""

_NO_MAIL: Final = frozenset([b"data", b"dot", b"prod"])
"""Top-level domains in which nobody can register a name, and which are attributes of arrays."""

_FILES: Final = frozenset([b"app", b"dev", b"md", b"mov", b"pl", b"ps", b"py", b"rs", b"sh", b"zip"])
"""Top-level domains that are also what the names of files end in."""

_VERSION: Final = re.compile(rb"(?i:v?[0-9]+x?(?:-[0-9a-z-]*)?|min|tar)")


def _domain_stop(match: re.Match[bytes]) -> int | None:
    """End of the last part of the domain that is a top-level domain: what follows it is the next sentence."""
    labels = match["domain"][:MAX_DOMAIN_BYTES].split(b".")
    for last in range(len(labels) - 1, 0, -1):
        for top in (labels[last], labels[last].partition(b"-")[0]):
            if _is_top_level(top):
                size = sum(len(label) + 1 for label in labels[:last]) + len(top)
                return match.start("domain") + size if _has_mail(labels[:last], top) else None
    return None


def _is_top_level(label: bytes) -> bool:
    return label.decode(errors="replace").lower() in TOP_LEVEL_DOMAINS


def _has_mail(names: list[bytes], top: bytes) -> bool:
    """Whether the domain is none of an object's attributes ("A@W.data"), and no version ("jquery@3.6.0.zip")."""
    if top.lower() in _NO_MAIL:
        return False
    if top.lower() in _FILES and all(map(_VERSION.fullmatch, names)):
        return False
    return not (len(names) == len(names[0]) == 1 and names[0].isupper() and top.islower())


_REACH_BEFORE: Final = 4 * MAX_LOCAL_CHARACTERS
_RUN_BACKWARDS: Final = re.compile(rb"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[\x80-\xbf][\xc3-\xd4]|\.(?!\.))*+")
_MARK: Final = re.compile(rb"%[0-9A-F]{2}(?!\Z)|[!#$%&*/=?^`{|}~]")
_WORD: Final = rb"(?:[A-Za-z0-9_]|%b)" % _LETTER
_WORD_START: Final = re.compile(rb"(?<![A-Za-z0-9_])(?<!%b)%b" % (_LETTER, _WORD))
_BETWEEN_WORDS: Final = re.compile(rb"(?<=[A-Za-z0-9_\x80-\xbf]).(?=%b)" % _WORD)


def _local_start(match: re.Match[bytes]) -> int | None:
    """Where the local part before the @ begins, or None if there is none.

    It is all the characters that one can have, back to a mark that rather stands between it and something else; and
    of those at most `MAX_LOCAL_CHARACTERS`, from the start of a word on.
    """
    at = match.start()
    behind = bytes(match.string[max(0, at - _REACH_BEFORE) : at])
    backwards = _RUN_BACKWARDS.match(behind[::-1])
    run = b"" if backwards is None else backwards[0][::-1]
    before = behind[: len(behind) - len(run)]
    if before.endswith(b"@") and _is_domain(run):
        return None  # of another address
    parting = [mark.end() for mark in _MARK.finditer(run) if not _belongs(mark, before)]
    local = run[parting[-1] :] if parting else run
    for word in _WORD_START.finditer(local):
        if len(local[word.start() :].decode()) <= MAX_LOCAL_CHARACTERS:
            return at - len(local) + word.start()
    return None


def _is_domain(name: bytes) -> bool:
    *names, top = name.split(b".")
    return bool(names) and all(names) and _is_top_level(top)


_COMMAND: Final = re.compile(rb"[A-Za-z]+")
_KEY: Final = re.compile(rb"(?P<before>[?&;]?)-{0,2}(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)\Z")
_KEY_PART: Final = re.compile(rb"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_KEYS: Final = frozenset(
    b"account addr address admin author bcc by cc cn contact e email emailaddress from host id identity login mail"
    b" mailto maintainer name owner recipient remote reply sender server smtp ssh subject to uid upn user"
    b" username".split()
)


def _belongs(mark: re.Match[bytes], before: bytes) -> bool:
    """Whether a mark in a run of an address' characters, which `before` precedes, is one of the local part.

    It is one between two words, unless what it stands for is plain: the end of another address ("a@b.com|ada@…"), a
    path ("example.org/list/ada@…"), a parameter ("to=ada@…", "?x=ada@…"), an encoded character ("%20ada@…"), the
    argument of a TeX command ("\\email{ada@…"). In the mailing lists' "bounces+ada=example.com@…" and the relays'
    "ada%example.com@…" a domain follows.
    """
    run, sign = mark.string, mark[0]
    left = run[: mark.start()]
    if not _BETWEEN_WORDS.match(run, mark.start()):
        return False
    if before.endswith(b"@") and _is_domain(left):
        return False
    if sign[:1] in b"=%" and _is_domain(run[mark.start() + 1 :]):
        return True
    if sign == b"/":
        return b"//" not in left and left[:1] not in (b"/", b".", b"~") and not _is_domain(left.partition(b"/")[0])
    if sign == b"{":
        return not (before.endswith(b"\\") and _COMMAND.fullmatch(left))
    return len(sign) == 1 and not (sign == b"=" and _is_key(left))


def _is_key(left: bytes) -> bool:
    """Whether what stands before a = names a parameter that holds an address: of a URL, a shell, a program."""
    match = _KEY.search(left)
    if match is None:
        return False
    key = match["key"]
    parts = {part.lower() for part in _KEY_PART.findall(key)}
    return bool(match["before"]) or (len(key) > 1 and key.isupper()) or not parts.isdisjoint(_KEYS)


EMAIL: Final = Pattern("email", Kind.EMAIL, _EMAIL, _email)
