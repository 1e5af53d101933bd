"""Zips a folder so that the same files give the same bytes."""

import hashlib
import zipfile
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold."""
MODE = 0o100644 << 16
"""A regular file that everyone may read: Lambda's user is not the one who built it."""


def write(folder: Path, file: Path) -> None:
    """Zip every file below `folder`, in the order of their names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted((each.relative_to(folder).as_posix(), each) for each in folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(name, EPOCH)
                entry.external_attr = MODE
                entry.create_system = 3  # Unix, also where it was not
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes(), compresslevel=9)
    partial.replace(file)


def sha256(file: Path) -> str:
    """Return the file's hash in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def size_without_bytecode(file: Path) -> int:
    """Return the bytes that the archive would have with no `.pyc` in it."""
    with zipfile.ZipFile(file) as archive:
        compiled = [entry for entry in archive.infolist() if entry.filename.endswith(".pyc")]
    # An entry stands twice: before its data (30 bytes and its name) and in the directory (46 and its name).
    return file.stat().st_size - sum(entry.compress_size + 76 + 2 * len(entry.filename) for entry in compiled)


def unzipped_size(file: Path) -> int:
    """Return the bytes that the archive takes on Lambda's disk, of which there are 250 MB."""
    with zipfile.ZipFile(file) as archive:
        return sum(entry.file_size for entry in archive.infolist())
