"""Public addresses are those that Python calls global, but where its registries are a release behind or differ."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.clean.pii.networks import is_public_v4, is_public_v6

# Globally reachable anycast services, which are nobody's address all the same.
SERVICES = ("192.31.196.", "192.52.193.", "192.88.99.", "192.175.48.", "192.0.0.9", "192.0.0.10")


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_v4_as_python_has_it(address: IPv4Address) -> None:
    if not str(address).startswith(SERVICES):
        assert is_public_v4(str(address)) == (address.is_global and not address.is_multicast)


@given(st.integers(0, 2**125 - 1).map(lambda number: IPv6Address(number + 2**125)))
def test_v6_as_python_has_it(address: IPv6Address) -> None:
    assert is_public_v6(str(address)) == (address.is_global and not str(address).startswith(("2002:", "3fff:0")))


@pytest.mark.parametrize("text", ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "a.b.c.d", "::1"])
def test_what_is_no_v4(text: str) -> None:
    assert not is_public_v4(text)


@pytest.mark.parametrize("text", ["", "::", "1::2::3", "12345::", "8.8.8.8", "2001:db8::1", "ad::be", "4000::1"])
def test_what_is_no_public_v6(text: str) -> None:
    assert not is_public_v6(text)


def test_eight_groups_are_an_address_even_where_nothing_is_assigned_yet() -> None:
    assert is_public_v6("4000:1:2:3:4:5:6:7")
