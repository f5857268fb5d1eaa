"""Numbers keep every digit, and equal ones are equal, from the sender to the database and back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.content import decode_properties, exact_number


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (["120.50", "120.5", "1.205e2", "12050e-2", "1205E-1", "120.500000000000000000"], 120.5),
        (["1.0", "1e0", "10e-1", "0.1e1", "1.00000000000000000000000"], 1),
        (["0.0", "-0.0", "0e5", "-0e-5", "0.000000000000000000000"], 0),
        (["9007199254740993.0", "9.007199254740993e15"], 2**53 + 1),
        (["1e22", "10.0e21", "0.1E+23"], 10**22),
        (["1e23", "100000000000000000000000.0"], 10**23),
        (["1e307", "0.1e308", f"1{'0' * 307}.0"], 10**307),
        (["0.1", "1e-1", "0.10000000000000000000"], 0.1),
        (["-2.5e-300", "-0.25e-299", "-2.500000000000000000e-300"], -2.5e-300),
        (["1e-308", "0.1e-307"], Decimal("1e-308")),
        (["0.1234567890123456", "1.234567890123456e-1"], Decimal("0.1234567890123456")),
        (["12345678901234567.25"], Decimal("12345678901234567.25")),
        ([f"0.{'7' * 400}", f"{'7' * 400}e-400"], Decimal("0." + "7" * 400)),
    ],
)
def test_equal_numbers_decode_equal_and_of_one_type(
    spellings: list[str], expected: int | float | Decimal
) -> None:
    for text in spellings:
        number = exact_number(text)
        assert (type(number), number) == (type(expected), expected), text
        assert str(number) == str(exact_number(spellings[0]))


@pytest.mark.parametrize(
    "text",
    ["1e308", "-1e308", "1e400", "1e-309", "1e131073", "1e-20000", "0e-20000", "0e131073",
     f"0.{'1' * 401}", f"{'1' * 401}.0", f"1.{'0' * 400}", "1e9999999999999999999",
     "1e-9999999999999999999", f"1e{'9' * 300}", f"0.{'0' * 100_000}1"],
)  # fmt: skip
def test_numbers_that_not_everybody_can_hold_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        exact_number(text)


decimals = st.builds(
    lambda sign, digits, exponent: Decimal((sign, digits, exponent)),
    st.integers(0, 1),
    st.lists(st.integers(0, 9), min_size=1, max_size=40).map(tuple),
    st.integers(-260, 260),
)


def spellings_of(number: Decimal) -> list[str]:
    """The same number in JSON, with a point or an exponent."""
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    whole = str(int("".join(map(str, digits))))
    minus = "-" if sign else ""
    plain = f"{number:f}"
    return [
        f"{minus}{whole}e{exponent}",
        f"{minus}{whole}000E{exponent - 3}",
        f"{minus}{whole}.00e+{exponent}" if exponent >= 0 else f"{minus}{whole}.0e{exponent}",
        plain if "." in plain else plain + ".0",
    ]


@given(decimals)
def test_no_digit_is_lost_and_no_spelling_matters(number: Decimal) -> None:
    spelt = [exact_number(text) for text in spellings_of(number)]
    assert {(type(each), str(each)) for each in spelt} == {(type(spelt[0]), str(spelt[0]))}
    exact = spelt[0]
    assert Decimal(str(exact) if isinstance(exact, float) else exact) == number


def test_integers_and_properties_decode_alike_from_what_postgres_gives_back() -> None:
    sent = b'{"a":1e300,"b":1e-308,"c":-0,"d":12345678901234567890}'
    stored = b'{"a": 1%b, "b": 0.%b1, "c": 0, "d": 12345678901234567890}' % (b"0" * 300, b"0" * 307)
    assert decode_properties(sent) == decode_properties(stored)
