"""How IP addresses are written.

Guarantees that an address is public. Dotted numbers that rather count something (versions, sections, object
identifiers) are left alone.
"""

from __future__ import annotations

import re
from typing import Final

from llm_assets.stages.clean.pii import context
from llm_assets.stages.clean.pii.networks import is_public_v4, is_public_v6
from llm_assets.stages.clean.pii.pattern import Extent, Pattern
from llm_assets.stages.clean.pii.spans import Kind

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
_HEADING_GOES_ON: Final = re.compile(rb"\.[ \t\n]")


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


IPV4: Final = Pattern("ipv4", Kind.IP, _IPV4, _ipv4, of_numbers=True)
IPV6: Final = Pattern("ipv6", Kind.IP, _IPV6, _ipv6)
