"""Where an object of a dump begins and ends, whatever its text holds."""

import pytest

from postgres_database.schema.sections import TRAILER, split_dump

HEADER = "--\n-- Name: x; Type: TABLE; Schema: y; Owner: -\n--\n"
SPACE = "SET default_tablespace = '';\n\n"
METHOD = "SET default_table_access_method = heap2;\n\n"
OPENED = ("'{}'", "E'\\'{}'", '"{}"', "$${}$$", "$a${}$a$", "/* {} */", "/* /* */ {} */")


@pytest.mark.parametrize("before", ["", SPACE, SPACE + METHOD])
@pytest.mark.parametrize("quoted", OPENED)
def test_a_header_inside_quoted_text(quoted: str, before: str) -> None:
    """It is none, nor is an end; the objects around it are as they would be without it."""
    body = f"SELECT {quoted.format(f'{before}{HEADER}{TRAILER}')};\n\n"
    found = split_dump(
        f"{before}{HEADER}one;\n\n{before}{HEADER}{body}{before}{HEADER}two;\n{TRAILER}"
    )
    assert [each.body for each in found] == ["one;\n\n", body, "two;\n"]
    assert [each.settings for each in found] == [before] * 3


@pytest.mark.parametrize("text", ["", "one;\n", TRAILER])
def test_no_object(text: str) -> None:
    """Neither an error nor an object."""
    assert not split_dump(text)
