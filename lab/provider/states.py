"""What the state of an instance or a cluster means to someone who waits."""

from encryptdb.lab.provider.base import ProviderError

BROKEN = frozenset(
    {
        "failed",
        "incompatible-restore",
        "incompatible-network",
        "incompatible-parameters",
        "inaccessible-encryption-credentials",
        "storage-full",
    }
)
"""States that nothing leaves by itself."""


def available(what: str, status: str | None) -> tuple[bool, str]:
    """Whether it is there, and what is seen. None is: not found. Raises ProviderError where waiting is in vain."""
    if status is None:
        raise ProviderError(f"{what} disappeared while it was being waited for")
    if status in BROKEN:
        raise ProviderError(f"{what} is {status}; see its events (aws rds describe-events)")
    return status == "available", status


def gone(status: str | None) -> tuple[bool, str]:
    """Whether it is gone, and what is seen."""
    return status is None, status or "gone"
