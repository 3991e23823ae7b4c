"""Sections of params.yaml: what is refused, in whose words, and where defaults come from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import pytest
from pydantic import Field

from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.settings import ClassName, SettingsFile, read_section, section, setting
from tem_data.sections import all_sections


@section("toy")
class Toy:
    size: int = setting(256, "Side.", gt=0)
    scale: float | None = setting(None, "Scale.", gt=0)
    angle: Literal["measured", "uniform"] | float = setting("measured", "Angle.")
    factors: Mapping[ClassName, Annotated[float, Field(ge=0)]] = setting({}, "Factors.")
    thresholds: Sequence[float] = setting((0.1, 0.2), "Thresholds.", min_length=1)
    wanted: bool = setting(True, "Wanted.")


@section("strict")
class Strict(Toy):
    needed: int = setting(..., "Needed.", ge=1, le=5)


@pytest.mark.parametrize(
    "values, problem",
    [
        ({"size": -1}, "toy.size: expected a whole number above 0, found -1"),
        ({"size": 2.5}, "toy.size: expected a whole number above 0, found 2.5"),
        ({"size": True}, "toy.size: expected a whole number above 0, found True"),
        ({"size": None}, "toy.size: expected a whole number above 0, found None"),
        ({"scale": "1e-4"}, "toy.scale: expected a number above 0, or null, found '1e-4', which YAML takes for text; "
         "write 0.0001 without quotes"),
        ({"scale": float("inf")}, "toy.scale: expected a number above 0, or null, found inf"),
        ({"angle": "turned"}, "toy.angle: expected one of measured, uniform or a number, found 'turned'"),
        ({"factors": {100: -2}}, "toy.factors.100: expected a number of 0 or more, found -2"),
        ({"factors": [1]}, "toy.factors: expected a mapping of text to a number of 0 or more, found [1]"),
        ({"thresholds": []}, "toy.thresholds: expected a list of one or more, each a number, found []"),
        ({"thresholds": ["a"]}, "toy.thresholds.0: expected a number, found 'a'"),
        ({"wanted": 1}, "toy.wanted: expected true or false, found 1"),
        ({"sise": 1}, "toy.sise: unknown key; expected one of size, scale, angle, factors, thresholds, wanted"),
        ([1], "toy: expected keys with values, found [1]"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line_that_names_section_key_found_and_expected(values, problem):
    with pytest.raises(SettingError) as caught:
        read_section(Toy, values)
    assert str(caught.value) == problem


def test_what_must_be_given_is_asked_for():
    with pytest.raises(
        SettingError, match="strict.needed: missing; expected a whole number of 1 or more and at most 5"
    ):
        read_section(Strict, {})
    assert read_section(Strict, {"needed": 3}).size == 256


def test_python_is_checked_as_files_are():
    with pytest.raises(SettingError, match=r"toy\.size"):
        Toy(size=0)
    with pytest.raises(SettingError, match=r"toy\.size"):
        replace(Toy(), size="8")
    with pytest.raises(SettingError, match=r"toy\.scale"):
        Toy(8, -1.0)


def test_a_part_of_a_file_is_laid_over_the_defaults(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text("toy: {size: 8, factors: {100: 2}}")
    read = SettingsFile.open(path).read(Toy)
    assert (read.size, read.factors, read.wanted) == (8, {"100": 2.0}, True)
    path.write_text("toy: {size: big}")
    with pytest.raises(TemDataError, match=r"some.yaml, toy.size: expected a whole number above 0, found 'big'"):
        SettingsFile.open(path).read(Toy)


def test_an_error_speaks_the_language_of_who_asks():
    error = SettingError("toy", "size", "expected more")
    assert str(error) == "toy.size: expected more"
    assert str(error.in_file("params.yaml")) == "params.yaml, toy.size: expected more"
    assert str(error.of_option({"size": "--size-px"})) == "--size-px: expected more"
    assert error.of_option({"other": "--other"}) is error


def test_every_section_has_defaults_and_help_for_all():
    for name, kind in all_sections().items():
        assert kind.section == name
        kind()
        assert all(field.description for field in kind.__pydantic_fields__.values()), name
