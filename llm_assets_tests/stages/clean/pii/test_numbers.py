"""Cards, social security numbers and IBANs by their check digits, ranges and lengths; look-alikes not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.clean.pii.numbers import passes_luhn
from llm_assets_tests.stages.clean.pii.examples import found, only
from llm_assets_tests.stages.clean.pii.planted import iban_of, luhn_digit


@given(st.text("0123456789", min_size=1, max_size=25), st.sampled_from("0123456789"))
def test_luhn(payload: str, last: str) -> None:
    assert passes_luhn(payload + last) == (last == luhn_digit(payload))


@pytest.mark.parametrize(
    "text",
    [
        "card: «4111111111111111».",
        "«4111 1111 1111 1111», exp",
        "«4111-1111-1111-1111»",
        "«4111\u00a01111\u00a01111\u00a01111»",
        "«3782 822463 10005»",
        "«378282246310005»",
        "«5555555555554444»",
        "«2223003122003222»",
        "«6011111111111117»",
        "«3530111333300000»",
        "«30569309025904»",
        "«6200000000000005»",
        "credit card «4222222222222»",
        "my card number is «6304 0000 0000 0000»",
        f"card number «63049001774{luhn_digit('63049001774')}» is lost",
    ],
)
def test_cards(text: str) -> None:
    only("credit_card", text)


@pytest.mark.parametrize(
    "text",
    [
        *["4111111111111112", "4111 1111-1111 1111", "4111 11111 1111 111", "0.4111111111111111", "4111111111111111.5"],
        *[
            "1234 4111 1111 1111 1111",
            "x4111111111111111",
            "4111111111111111x",
            "/p/4111111111111111",
            "+4111111111111111",
        ],
        *["9111111111111111", "4222222222222", "6304000000000000", "0000000000000000", "41111111111111111111"],
        *["1700000000000", "1700000000000000", "20240131235959", "978-3-16-148410-0", "9783161484100", "4006381333931"],
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_what_is_no_card(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("text", ["«123-45-6789»", "SSN: «123 45 6789»", "his social security number is «123456789»."])
def test_social_security_numbers(text: str) -> None:
    only("us_ssn", text)


@pytest.mark.parametrize(
    "text",
    [
        *["000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "123 45 6789", "123456789"],
        *["123-45 6789", "1123-45-6789", "123-45-67890", "123-45-6789-1", "x-123-45-6789", "SSN <US_SSN> 123456789"],
    ],
)
def test_what_is_no_social_security_number(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "IBAN «GB82WEST12345698765432».",
        "«GB82 WEST 1234 5698 7654 32» USD",
        "«DE89 3704 0044 0532 0130 00» bank",
        "«gb82west12345698765432»",
        "«NO9386011117947»",
        "«MT84MALT011000012345MTLCAST001S»",
        "中«FR1420041010050500013M02606»中",
    ],
)
def test_ibans(text: str) -> None:
    only("iban", text)


@pytest.mark.parametrize(
    "text",
    [
        *["GB82WEST12345698765433", "GB82WEST1234569876543", "XX82WEST12345698765432", "GB82WEST123456987654321"],
        *[
            "GB82west12345698765432",
            "GB82 WEST 1234 5698 76 5432",
            "aGB82WEST12345698765432",
            "GB82WEST12345698765432_"[:-2],
        ],
    ],
)
def test_what_is_no_iban(text: str) -> None:
    assert found(text) == []


def test_ibans_are_as_long_as_their_country_has_them() -> None:
    assert found(iban_of("DE", "370400440532013000")) != []
    assert found(iban_of("DE", "3704004405320130001")) == []
    assert found(iban_of("FR", "370400440532013000")) == []
