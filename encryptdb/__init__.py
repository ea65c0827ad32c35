"""The importable package. It holds the folders of the checkout's top level by link; docs/decisions.md says why."""

from importlib import metadata

try:
    __version__ = metadata.version("encryptdb")
except metadata.PackageNotFoundError:  # a checkout that was not installed
    __version__ = "checkout"
