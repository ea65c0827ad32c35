"""The fixtures of this directory."""

from tests.demo.demo_server import server

__all__ = ["server"]
