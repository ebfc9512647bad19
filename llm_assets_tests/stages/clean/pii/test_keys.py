"""Secrets by prefix, characters and length; placeholders, hashes and truncated ones not."""

from __future__ import annotations

import base64
import json

import pytest

from llm_assets.stages.clean.pii.keys import SECRETS
from llm_assets_tests.stages.clean.pii.examples import found, only

# Random characters, and prefixes split, so that scanners for leaked keys do not stop at this file.
LETTERS = "q7Zf0XcV3bN8mKp2LsR5tYw9HjDg4QaE6uIo1PzTxCvBnM" * 8
HEXADECIMAL = "3f9a0c7be15d8246" * 8
KEY_LINES = "\n".join(LETTERS[start : start + 64] for start in range(0, 192, 64))


def _web_token(header: object) -> str:
    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return f"{part(header)}.{part({'sub': 'x'})}.{LETTERS[:43]}"


@pytest.mark.parametrize(
    "secret",
    [
        "AK" + "IA" + "QZ7F3XCV2BNMKPLS",
        "gh" + "p_" + LETTERS[:36],
        "github_" + "pat_" + LETTERS[:22] + "_" + LETTERS[:59],
        "glp" + "at-" + LETTERS[:20],
        "xox" + "b-" + "123456789012-" + LETTERS[:24],
        "sk_" + "live_" + LETTERS[:24],
        "wh" + "sec_" + LETTERS[:32],
        "AI" + "za" + LETTERS[:35],
        "GOC" + "SPX-" + LETTERS[:28],
        "sk-" + LETTERS[:48],
        "sk-" + LETTERS[:20] + "T3Blbk" + "FJ" + LETTERS[20:40],
        "sk-" + "proj-" + LETTERS[:48],
        "sk-" + "ant-api03-" + LETTERS[:93] + "AA",
        "h" + "f_" + LETTERS[:34],
        "np" + "m_" + LETTERS[:36],
        "py" + "pi-" + "AgE" + LETTERS[:80],
        "S" + "G." + LETTERS[:22] + "." + LETTERS[:43],
        "shp" + "at_" + HEXADECIMAL[:32],
        "da" + "pi" + HEXADECIMAL[:32],
        "hooks.slack.com/" + "services/T0AB12CD3/B0AB12CD3/" + LETTERS[:24],
        "Account" + "Key=" + LETTERS[:86] + "==",
        _web_token({"alg": "HS256"}),
        "-----BEGIN " + f"RSA PRIVATE KEY-----\n{KEY_LINES}\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN " + f"PRIVATE KEY-----\\n{LETTERS[:64]}\\n-----END PRIVATE KEY-----",
        "-----BEGIN "
        + f"PGP PRIVATE KEY BLOCK-----\nVersion: x - y\n\n{KEY_LINES}\n-----END PGP PRIVATE KEY BLOCK-----",
        "-----BEGIN " + f"RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,0A\n\n{KEY_LINES}",
    ],
)
def test_secrets(secret: str) -> None:
    assert only("api_key", f"key=«{secret}», and") == secret
    assert only("api_key", f"秘«{secret}»") == secret


def test_of_an_assignment_only_the_secret() -> None:
    only("api_key", f'AWS_SECRET_ACCESS_KEY="«{LETTERS[:40]}»"')
    only("api_key", f"aws_secret_access_key = «{LETTERS[:40]}»")


@pytest.mark.parametrize(
    "text",
    [
        "gh" + "p_" + "x" * 36,
        "gh" + "p_" + LETTERS[:35],
        "gh" + "p_" + LETTERS[:37],
        "agh" + "p_" + LETTERS[:36],
        "sk_" + "live_your_key_here",
        "sk-" + "learn",
        "hf_" + "hub_download",
        "-----BEGIN " + "PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "-----BEGIN " + f"PUBLIC KEY-----\n{KEY_LINES}\n-----END PUBLIC KEY-----",
        "-----BEGIN " + f"CERTIFICATE-----\n{KEY_LINES}\n-----END CERTIFICATE-----",
        "eyJ" + "hello.eyJ" + "world." + LETTERS[:43],
        _web_token({"no algorithm": 1}),
        _web_token([1, 2, "alg"]),
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "sha256-" + LETTERS[:43] + "=",
        HEXADECIMAL[:64],
    ],
)
def test_what_is_no_secret(text: str) -> None:
    assert found(text) == []


def test_prefixes_are_how_matches_begin() -> None:
    for secret in SECRETS:
        for prefix in secret.prefixes:
            shortest = secret.pattern.regex.match(prefix.encode())
            assert len(prefix) > 1
            assert shortest is None, f"{secret.pattern.name}: a prefix alone is no secret"
