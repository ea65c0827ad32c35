"""The fixtures of this directory."""

from demo_server import server

__all__ = ["server"]
