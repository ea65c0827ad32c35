"""Real servers without certificates."""

from tests.kit.fixtures import plain_connections

__all__ = ["plain_connections"]
