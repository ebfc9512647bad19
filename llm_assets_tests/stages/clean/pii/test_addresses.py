"""Public IP addresses are found whole; private ones, versions, and what has dots or colons otherwise not."""

from __future__ import annotations

import pytest

from llm_assets_tests.stages.clean.pii.examples import found, only


@pytest.mark.parametrize(
    "text",
    [
        "from «8.8.100.123».",
        "http://«93.184.216.34»:8080/x",
        "«93.184.216.34»/24",
        "[«93.184.216.34»]",
        "user@«93.184.216.34»",
        "ip=«93.184.216.34»,",
        "«2606:2800:220:1:248:1893:25c8:1946»",
        "[«2606:2800:220:1::1946»]:443",
        "«2a00:1450:4001::»/48",
        "at «2a00:1450:4001:81b::200e»: found",
        "«6e40:4041:c617:e898:c11:40d2:c669:2eb4»",
        "::ffff:«93.184.216.34»",
    ],
)
def test_public_addresses(text: str) -> None:
    only("ip", text)


@pytest.mark.parametrize(
    "address",
    [
        *["10.20.30.40", "127.100.0.1", "172.16.254.1", "192.168.100.1", "169.254.100.1", "100.64.100.1", "0.100.0.1"],
        *["192.0.2.100", "198.51.100.7", "203.0.113.10", "224.0.100.251", "255.255.255.255", "240.100.0.1"],
        *[
            "::1",
            "fe80::1ff:fe23:4567:890a",
            "fc00:1:2:3:4:5:6:7",
            "2001:db8:85a3::8a2e:370:7334",
            "ff02:0:0:0:0:0:0:1",
        ],
    ],
)
def test_private_and_reserved_addresses_are_not_pii(address: str) -> None:
    assert found(f"host {address} up") == []


@pytest.mark.parametrize(
    "text",
    [
        *["1.2.3.4", "8.8.8.8", "2.5.4.3", "12.1.2.3", "2.5.29.14"],
        *["version 101.102.103.104", "v101.102.103.104", "release 101.102.103.104", "Section 101.102.103.104"],
        *["package==101.102.103.104", "linux-101.102.103.104", "101.102.103.104-generic", "101.102.103.104.rc1"],
        *["101.102.103.104.105", "1.3.6.1.4.1.311", "256.100.100.100", "101.102.103.1045", "1.101.102.103.104"],
        *["101.102.103.104a", "x101.102.103.104", "101.102.103", "01.102.103.104", "\n101.102.103.104. A heading"],
        *["12:34:56", "aa:bb:cc:dd:ee:ff", "std::vector", "dead::beef", "a::b", "12:34:56:78", "::", "1::2::3"],
        *["2001::cafe::1", "2606:2800:220:1:248:1893:25c8:1946:1", "2606:2800:220:1:248:1893:25c8", "ad::be"],
        *["urn:uuid:550e8400-e29b-41d4-a716-446655440000", "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709"],
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert found(text) == []
