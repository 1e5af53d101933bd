"""JSON values for hypothesis, and when two of them are the same."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5), max_leaves=30
)
"""What the API takes: text without U+0000 and lone surrogates, integers of 64 bits, finite doubles."""


def plain(value: Any) -> Any:
    """Return `value` so that `==` compares it as JSON: numbers by their value, and true is not 1."""
    match value:
        case bool():
            return ("boolean", value)
        case int() | float():
            return Decimal(repr(value))
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value
