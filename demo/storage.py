"""Is a string in the files of a directory tree?"""

from pathlib import Path

CHUNK = 4 * 1024 * 1024


def files_with(directory: Path, marker: bytes) -> list[Path]:
    """The files below `directory` that hold `marker`, read as they lie on the disk. A file that vanishes while the
    server goes on is passed over; a directory that is not there raises FileNotFoundError."""
    if not directory.is_dir():
        raise FileNotFoundError(directory)
    files = (path for path in directory.rglob("*") if not path.is_symlink() and path.is_file())
    return sorted(path for path in files if _holds(path, marker))


def _holds(path: Path, marker: bytes) -> bool:
    rest = b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                # The end of the chunk before, because the marker may lie across the boundary.
                seen = rest + chunk
                if marker in seen:
                    return True
                rest = seen[-len(marker) :]
    except FileNotFoundError:
        return False
    return False
