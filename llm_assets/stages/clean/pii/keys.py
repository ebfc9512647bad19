"""How keys, tokens and other secrets are written.

Guarantees that what is taken for a secret has the prefix, the characters and the length that its issuer gives it,
and is not the same few of them over and over, as placeholders are ("xxxx"). A new secret is one line of `_TOKENS`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Final

from llm_assets.stages.clean.pii.pattern import Extent, Pattern
from llm_assets.stages.clean.pii.spans import Kind

MIN_DIFFERENT_CHARACTERS: Final = 8
"""In what follows a prefix. Twenty random hexadecimal digits have fewer once in 2,000 times, longer ones never."""

_MIN_PRIVATE_KEY: Final = 48


@dataclass(frozen=True)
class Secret:
    """A pattern, and the literals one of which begins every match: where it is worth trying."""

    prefixes: tuple[str, ...]
    pattern: Pattern


def _random(match: re.Match[bytes]) -> Extent | None:
    return match.span() if len(set(match["secret"])) >= MIN_DIFFERENT_CHARACTERS else None


def _token(name: str, prefixes: str, secret: str) -> Secret:
    """A secret of these characters (a regular expression) after one of the prefixes, as a word of its own."""
    alternatives = tuple(prefixes.split())
    start = "|".join(re.escape(prefix) for prefix in alternatives)
    regex = re.compile(rf"(?<![A-Za-z0-9])(?:{start})(?P<secret>{secret})(?![A-Za-z0-9_])".encode())
    return Secret(alternatives, Pattern(name, Kind.API_KEY, regex, _random))


_TOKENS: Final = (
    _token("aws_access_key", "AKIA ASIA ABIA ACCA", r"[A-Z2-7]{16}"),
    _token("github", "ghp_ gho_ ghu_ ghs_ ghr_", r"[A-Za-z0-9]{36}"),
    _token("github_fine_grained", "github_pat_", r"[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    _token("gitlab", "glpat-", r"[A-Za-z0-9_-]{20,64}+"),
    _token("slack", "xoxb- xoxp- xoxa- xoxr- xoxs- xoxe- xapp-", r"[A-Za-z0-9-]{20,250}+"),
    _token("slack_webhook", "hooks.slack.com/services/", r"T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/[A-Za-z0-9]{20,26}"),
    _token("stripe", "sk_live_ sk_test_ rk_live_ rk_test_ whsec_", r"[A-Za-z0-9]{16,250}+"),
    _token("google_api", "AIza", r"[A-Za-z0-9_-]{35}"),
    _token("google_oauth_secret", "GOCSPX-", r"[A-Za-z0-9_-]{28}"),
    _token("google_access", "ya29.", r"[A-Za-z0-9_-]{40,250}+"),
    _token("openai", "sk-", r"[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}|[A-Za-z0-9]{48}"),
    _token("openai_scoped", "sk-proj- sk-svcacct- sk-admin-", r"[A-Za-z0-9_-]{40,250}+"),
    _token("anthropic", "sk-ant-", r"[a-z]{3,8}[0-9]{2}-[A-Za-z0-9_-]{80,200}+"),
    _token("hugging_face", "hf_", r"[A-Za-z0-9]{34}"),
    _token("npm", "npm_", r"[A-Za-z0-9]{36}"),
    _token("pypi", "pypi-", r"AgE[A-Za-z0-9_-]{50,250}+"),
    _token("sendgrid", "SG.", r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    _token("shopify", "shpat_ shpca_ shppa_ shpss_", r"[A-Fa-f0-9]{32}"),
    _token("digitalocean", "dop_v1_ doo_v1_ dor_v1_", r"[a-f0-9]{64}"),
    _token("databricks", "dapi", r"[a-f0-9]{32}(?:-[0-9])?"),
    _token("vault", "hvs. hvb.", r"[A-Za-z0-9_-]{24,250}+"),
    _token("grafana", "glsa_ glc_", r"[A-Za-z0-9_+/=]{32,250}+"),
    _token("postman", "PMAK-", r"[a-f0-9]{24}-[a-f0-9]{34}"),
    _token("atlassian", "ATATT3", r"[A-Za-z0-9_=-]{100,250}+"),
    _token("groq", "gsk_", r"[A-Za-z0-9]{52}"),
    _token("replicate", "r8_", r"[A-Za-z0-9]{37}"),
    _token("azure_storage", "AccountKey=", r"[A-Za-z0-9+/]{86}=="),
)

_AWS_NAMES: Final = ("secret_access_key", "SECRET_ACCESS_KEY", "ecretAccessKey")
_AWS_SECRET: Final = re.compile(
    rb"(?:secret_access_key|SECRET_ACCESS_KEY|ecretAccessKey)[\"']?\s{0,4}[:=]{1,2}>?\s{0,4}[\"']?"
    rb"(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
)


def _aws_secret(match: re.Match[bytes]) -> Extent | None:
    return match.span("secret") if _random(match) else None


_JWT: Final = re.compile(
    rb"(?<![A-Za-z0-9_-])(?P<header>eyJ[A-Za-z0-9_-]{10,}+)\.eyJ[A-Za-z0-9_-]{6,}+\.[A-Za-z0-9_-]{20,}+"
)


def _jwt(match: re.Match[bytes]) -> Extent | None:
    """A JSON web token (RFC 7519): the first part is a JSON object that names the algorithm."""
    header = match["header"]
    try:
        fields = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except (binascii.Error, ValueError):
        return None
    return match.span() if isinstance(fields, dict) and "alg" in fields else None


_PRIVATE_KEY: Final = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    rb"(?P<body>[^\0-]*+(?:-(?!----)[^\0-]*+)*+)"
    rb"(?P<end>-----END (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
)
_KEY_LINES: Final = re.compile(rb"(?:(?:\s|\\[nr])*+(?:[A-Za-z-]+: [^\r\n\\]*+|[A-Za-z0-9+/=]{16,}+))*+")
_ESCAPED_SPACE: Final = re.compile(rb"\s|\\[nr]")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/=]+")


def _private_key(match: re.Match[bytes]) -> Extent | None:
    """The block (RFC 7468, RFC 4880), or as many of its lines as there are, if its end is missing."""
    lines = _KEY_LINES.match(match["body"])
    size = 0 if lines is None else lines.end()
    key = b"".join(_BASE64.findall(_ESCAPED_SPACE.sub(b"", match["body"][:size])))
    if len(key) < _MIN_PRIVATE_KEY or len(set(key)) < 2 * MIN_DIFFERENT_CHARACTERS:
        return None
    return match.span() if match["end"] else (match.start(), match.start("body") + size)


SECRETS: Final = (
    *_TOKENS,
    Secret(_AWS_NAMES, Pattern("aws_secret_key", Kind.API_KEY, _AWS_SECRET, _aws_secret)),
    Secret(("eyJ",), Pattern("json_web_token", Kind.API_KEY, _JWT, _jwt)),
    Secret(("-----BEGIN ",), Pattern("private_key", Kind.API_KEY, _PRIVATE_KEY, _private_key)),
)
