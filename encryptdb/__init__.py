"""The importable package. It holds the folders of the checkout's top level by link; docs/decisions.md says why."""

__version__ = "0.1.0"
