"""E-mail addresses are found whole, whatever characters they have; what has an @ otherwise is not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets_tests.stages.clean.pii.examples import found, only


@pytest.mark.parametrize(
    "text",
    [
        "«ada.lovelace+notes@example.co.uk»",
        "mailto:«a@b.de».",
        "<«a@b.de»>, (",
        "'«o'neill@example.ie»'",
        "write to «user@example.com».Then wait",
        "write to «user@example.com»-please",
        "see ....«user@example.com»_x",
        "联系«user@example.com»谢谢",
        "«josé.ñandú@example.com»",
        "«почта@пример.рф»",
        "«USER@EXAMPLE.COM»",
        "https://«me@example.com»/path",
        "«a_b-c@sub-domain.example.museum»",
        "x @y «z@example.com»",
        "«" + "a" * 64 + "@example.com»",
        "a" * 64 + ".«b@example.com»",
        "<td>«first#last@example.com»</td>",
        "Return-Path: «bounces+123=ada.lovelace=mail.example.com@lists.example.org»\r\n",
        "«prvs=7a31f0c2b1=ada@example.com»",
        "relay «ada%home.example.net@gateway.example.org»",
        "user=«ada@example.com»",
        "GIT_AUTHOR_EMAIL=«ada@example.com»",
        "ADMIN=«ada@example.com»",
        "--to=«ada@example.com»",
        "https://example.org/list?who=«ada@example.com»",
        "https://example.org/lists/«ada@example.com»/thread",
        "example.org/lists/«ada@example.com»/thread",
        "~/mail/«ada@example.com»",
        "«ada%20@example.com»",
        "mailto%3A«ada@example.com»",
        "\\email{«ada@example.com»}",
        "email={«ada@example.com»},",
        "**«ada@example.com»**",
        "`«ada@example.com»`",
        "«ada@163.com»",
        "«ada@3com.com»",
        "отправьте на «жанна=смит@пример.рф»",
    ],
)
def test_emails(text: str) -> None:
    only("email", text)


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:owner/repository.git",
        "logo@2x.png",
        "@decorator.method",
        "a @ b.com",
        "user@localhost",
        "user@example",
        "someone@example.notadomain",
        "W@x.T",
        "..@example.com",
        "a" * 65 + "@example.com",
        "user@.com",
        "user@-.com",
        "y = X @ W",
        "z = X@beta.to(device)",
        "u = A@B.dot(C)",
        "v = A@W.data",
        "v = h@self.weight.data + b",
        "w = q@k.me[0]",
        "p = X@W.data.view(-1)",
        "p = Q@K.it.transpose(1, 2)",
        "npm install jquery@3.6.0.zip",
        "uses: acme/action@v2.sh",
        "left-pad@1.3.0-rc.1.dev",
        "{user}@example.com",
        "$(id -un)@example.com",
    ],
)
def test_no_emails(text: str) -> None:
    assert found(text) == []


ATEXT = "!#$%&'*+-/=?^_`{|}~"
"""The characters beside letters, digits and points that RFC 5322 (3.2.3) lets a local part have."""


@pytest.mark.parametrize("mark", ATEXT)
@pytest.mark.parametrize("before", ["to ", "<", "«", "邮箱", "\r\n", '"', "("])
def test_every_character_of_a_local_part_belongs_to_it(mark: str, before: str) -> None:
    address = f"first{mark}zwölf{mark}3@example.com"
    assert found(f"{before}{address} and") == [("email", address)]


locals_ = st.from_regex(re.compile(r"[a-zé0-9]{1,6}(?:[!#$&'*+/?^`|~.-][a-zé0-9]{1,6}){0,5}"), fullmatch=True)


@given(st.lists(locals_, min_size=1, max_size=4), st.sampled_from([", ", " ", ";", "\r\n", "\t", "，", "> <"]))
def test_addresses_in_a_row_are_found_each_and_whole(names: list[str], by: str) -> None:
    addresses = [f"{name}@example.org" for name in names if name != "git"]
    assert found(by.join(addresses)) == [("email", address) for address in addresses]


@pytest.mark.parametrize("by", ["|", "&", "/", "?", "&cc=", "=", "#"])
def test_marks_between_addresses_belong_to_neither(by: str) -> None:
    assert found(f"ada@example.com{by}bob@example.org") == [("email", "ada@example.com"), ("email", "bob@example.org")]


def test_a_second_domain_is_no_local_part() -> None:
    assert found("ada@example.com@example.org") == [("email", "ada@example.com")]
    assert found("@ada@example.com") == [("email", "ada@example.com")]
