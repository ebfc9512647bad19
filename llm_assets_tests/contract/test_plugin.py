from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError

from llm_assets.contract.plugin import Plugin, PluginError, PluginFailedError, find_plugin
from llm_assets.contract.stage import Parameters, code_version
from llm_assets_tests.plugins import importable, write_package


class Greeting(Plugin):
    """A kind of plugin."""

    group: ClassVar[str] = "test.greetings"
    name: str

    @abstractmethod
    def greet(self) -> str:
        """What it says."""


class Stage(Parameters):
    greetings: tuple[Greeting, ...] = Field(default=(), exclude_if=lambda value: not value)


MODULE = """
from llm_assets_tests.contract.test_plugin import Greeting


class Hello(Greeting):
    version = "3"
    times: int = 1

    def greet(self):
        return self.times * f"Grüß Gott, {self.name}! "


class Mute(Greeting):
    version = "1"


class Stranger:
    pass
"""


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    write_package(
        tmp_path,
        "greetings_of_others",
        {"polite": MODULE, "broken": "1 / 0", "unversioned": MODULE.replace('version = "3"', "")},
        "[test.greetings]\nhello = greetings_of_others.polite:Hello\n",
    )
    yield from importable(tmp_path)


PATH = "greetings_of_others.polite:Hello"


def stage(*greetings: object) -> Stage:
    return Stage.model_validate({"greetings": greetings})


@pytest.mark.parametrize("use", [PATH, "hello"])
def test_a_plugin_is_found_by_path_and_by_entry_point(package: Path, use: str) -> None:
    (found,) = stage({"use": use, "name": "Zoë", "times": 2}).greetings
    assert found.greet() == "Grüß Gott, Zoë! Grüß Gott, Zoë! "


def test_what_is_dumped_names_path_version_and_parameters_and_is_read_back(package: Path) -> None:
    declared = stage({"use": "hello", "name": "Zoë"})
    dumped = json.loads(declared.model_dump_json())
    assert dumped == {"greetings": [{"use": PATH, "version": "3", "name": "Zoë", "times": 1}]}
    assert Stage.model_validate(dumped) == declared
    assert Stage.model_validate(declared.model_dump()) == declared


def test_the_code_version_has_version_and_parameters(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without, one, other = (
        code_version("1", stage(*each))
        for each in ([], [{"use": PATH, "name": "a"}], [{"use": PATH, "name": "a", "times": 2}])
    )
    monkeypatch.setattr(find_plugin(Greeting.group, PATH, Greeting), "version", "4")
    raised = code_version("1", stage({"use": PATH, "name": "a"}))
    assert len({without, one, other, raised}) == 4


def test_parameters_without_plugins_are_what_they_were_before_there_were_any() -> None:
    assert Stage().model_dump_json() == "{}"


@pytest.mark.parametrize(
    ("given", "where", "why"),
    [
        ({"use": "hello"}, ("name",), "required"),
        ({"use": "hello", "name": "a", "times": "often"}, ("times",), "integer"),
        ({"use": "hello", "name": "a", "tmes": 2}, ("tmes",), "there are: use, version, name, times"),
        ({"use": "hello", "name": "a", "version": "2"}, (), "version 2 is asked for, and hello is version 3"),
        ({"use": "hallo", "name": "a"}, (), "no installed package has an entry point 'hallo'.*there are: hello"),
        ({"name": "a"}, (), "`use` names the plugin"),
        ({"use": 3}, (), "`use` names the plugin"),
        ("hello", (), "dictionary"),
        ({"use": "greetings_of_nobody:A"}, (), "cannot be imported: ModuleNotFoundError"),
        ({"use": "greetings_of_others.polite:Hallo"}, (), "cannot be imported: AttributeError"),
        ({"use": "greetings_of_others.broken:A"}, (), "cannot be imported: ZeroDivisionError"),
        ({"use": "greetings_of_others.unversioned:Hello"}, (), "Hello has no version"),
        ({"use": "greetings_of_others.polite:Mute", "name": "a"}, (), "Mute lacks greet"),
        ({"use": "greetings_of_others.polite:Stranger"}, (), "no subclass of .*:Greeting"),
        ({"use": "greetings_of_others.polite:__name__"}, (), "no subclass of .*:Greeting"),
    ],
)
def test_what_cannot_be_used_is_told_at_its_place(package: Path, given: Any, where: tuple[str, ...], why: str) -> None:
    with pytest.raises(ValidationError, match=why) as raised:
        stage(given)
    assert [error["loc"] for error in raised.value.errors()] == [("greetings", 0, *where)]


def test_a_name_that_two_packages_give_is_none(package: Path) -> None:
    write_package(package, "more_greetings", {}, "[test.greetings]\nhello = more_greetings:Hello\n")
    with pytest.raises(PluginError, match=f"each of {PATH}, more_greetings:Hello"):
        find_plugin(Greeting.group, "hello", Greeting)


def test_what_names_a_plugin_is_no_parameter_of_it() -> None:
    with pytest.raises(TypeError, match="use is no name for a field"):

        class Bad(Greeting):
            version = "1"
            use: str

            def greet(self) -> str:
                return self.use


def test_a_failure_names_the_plugin(package: Path) -> None:
    (greeting,) = stage({"use": "hello", "name": "a"}).greetings
    with (
        pytest.raises(PluginFailedError, match=f"{PATH}, version 3, failed: AttributeError: no"),
        greeting.called(),
    ):
        raise AttributeError("no such")
    with pytest.raises(FileNotFoundError) as raised, greeting.called():
        raise FileNotFoundError("words.txt")
    assert raised.value.__notes__ == [f"raised by {PATH}, version 3"]


def test_the_schema_asks_for_a_name_and_allows_any_parameter() -> None:
    schema = Stage.model_json_schema()["$defs"]["Greeting"]
    assert schema["required"] == ["use", "name"]
    assert list(schema["properties"]) == ["use", "version", "name"]
    assert schema["additionalProperties"] is True
