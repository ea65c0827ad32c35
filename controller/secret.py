"""A secret that cannot be printed by accident."""


class Secret:
    """Holds a password. `str()`, `repr()` and formatting show asterisks; `reveal()` gives the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__
