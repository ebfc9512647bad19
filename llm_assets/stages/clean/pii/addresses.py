"""How e-mail and IP addresses are written.

Guarantees that an e-mail address ends in a top-level domain that exists, and that an IP address is public. Dotted
numbers that rather count something (versions, sections, object identifiers) are left alone.
"""

from __future__ import annotations

import re
from typing import Final

from llm_assets.stages.clean.pii import context
from llm_assets.stages.clean.pii.networks import is_public_v4, is_public_v6
from llm_assets.stages.clean.pii.pattern import Extent, Pattern
from llm_assets.stages.clean.pii.spans import Kind
from llm_assets.stages.clean.pii.top_level_domains import TOP_LEVEL_DOMAINS

# U+00C0 to U+053F: letters (and marks) of Latin, Greek and Cyrillic, two bytes each. Scripts without spaces between
# words are left out, or the words before and after an address would become part of it.
_LETTER: Final = rb"[\xc3-\xd4][\x80-\xbf]"
_LABEL: Final = rb"(?:[A-Za-z0-9]|%b)(?:-{0,4}(?:[A-Za-z0-9]|%b)){0,62}" % (_LETTER, _LETTER)

MAX_LOCAL_CHARACTERS: Final = 64
MAX_DOMAIN_BYTES: Final = 253
"""Of an e-mail address, before and after the @ (RFC 5321, 4.5.3.1; RFC 1035 less the two bytes it does not show)."""

_EMAIL: Final = re.compile(
    rb"(?<![A-Za-z0-9_])(?<!%b)"
    rb"(?=(?:[A-Za-z0-9_.+'-]|%b){1,%d}+@)"
    rb"(?P<local>(?:[A-Za-z0-9_]|%b)(?:[A-Za-z0-9_+'-]|%b|\.(?!\.))*+)"
    rb"@(?P<domain>%b(?:\.%b){1,10})" % (_LETTER, _LETTER, MAX_LOCAL_CHARACTERS, _LETTER, _LETTER, _LABEL, _LABEL)
)


def _email(match: re.Match[bytes]) -> Extent | None:
    """Up to the last part of the domain that is a top-level domain: what follows it is the next sentence.

    `git@host` is how repositories are addressed, and nobody's mailbox.
    """
    if match["local"] == b"git":
        return None
    labels = match["domain"][:MAX_DOMAIN_BYTES].split(b".")
    for last in range(len(labels) - 1, 0, -1):
        for name in (labels[last], labels[last].partition(b"-")[0]):
            if name.decode(errors="replace").lower() in TOP_LEVEL_DOMAINS:
                size = sum(len(label) + 1 for label in labels[:last]) + len(name)
                return match.start(), match.start("domain") + size
    return None


_OCTET: Final = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(
    rb"(?<![A-Za-z0-9_.])(?<![A-Za-z]-)(?<!==)"
    rb"%b\.%b\.%b\.%b"
    rb"(?![A-Za-z0-9_]|\.[a-z0-9]|-[A-Za-z])" % (_OCTET, _OCTET, _OCTET, _OCTET)
)
_COUNTING_WORD: Final = re.compile(
    rb"(?i)(?<![a-z])(?:v|ver|vers|version|versions|release|releases|rel|rev|revision|build|firmware|driver|patch"
    rb"|section|sections|sec|chapter|clause|paragraph|figure|table|appendix|oid|soname|\xc2\xa7)"
    rb"(?: is| was| of| to| no| number)?[\s:=#.\"'(]{0,3}\Z"
)


_CERTIFICATE_EXTENSIONS: Final = "2.5.29."  # the object identifiers of X.509 (RFC 5280, 4.2.1)
_HEADING: Final = re.compile(rb"(?:\A|\n)\s*+\Z")
_HEADING_GOES_ON: Final = re.compile(rb"\.(?:[ \t\n]|\xc2\xa0)")


def _ipv4(match: re.Match[bytes]) -> Extent | None:
    """A public address, unless it rather counts versions, sections or objects.

    So say a word before it, its being the number of a heading ("12.10.3.1. Preparations"), or fewer than six
    digits: 1.2.3.4, 12.1.2.3 and 2.5.29.14 are hardly ever addresses, and 0.01 % of addresses look like them.
    """
    text = match[0].decode()
    if len(text) < len("1.1.10.10") or text.startswith(_CERTIFICATE_EXTENSIONS) or not is_public_v4(text):
        return None
    behind = context.before(match, 24)
    if _COUNTING_WORD.search(behind):
        return None
    if _HEADING.search(behind) and _HEADING_GOES_ON.match(context.after(match, 3, match.end())):
        return None
    return match.span()


_GROUPS: Final = rb"[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6}+"
_IPV6: Final = re.compile(
    rb"(?<![A-Za-z0-9_:.])"
    rb"(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){7}|[0-9A-Fa-f]{4}(?::[0-9A-Fa-f]{1,4}){0,6}+::(?:%b)?)"
    rb"(?![A-Za-z0-9_]|:[A-Za-z0-9_:]|\.[0-9])" % _GROUPS
)


def _ipv6(match: re.Match[bytes]) -> Extent | None:
    return match.span() if is_public_v6(match[0].decode()) else None


EMAIL: Final = Pattern("email", Kind.EMAIL, _EMAIL, _email)
IPV4: Final = Pattern("ipv4", Kind.IP, _IPV4, _ipv4)
IPV6: Final = Pattern("ipv6", Kind.IP, _IPV6, _ipv6)
