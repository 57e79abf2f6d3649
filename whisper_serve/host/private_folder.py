"""The folder for temporary files of this service that no other user of the machine may read or replace.

Ray's sessions and the crash journal lie in it. It is in the system's temporary folder, where any user can plant a folder
or a link of its name first: so it is used only if it is a folder, and ours.
"""

import os
import stat
import tempfile
from pathlib import Path
from pwd import getpwuid

from whisper_serve.errors import StartError

SHORT = Path("/tmp")  # noqa: S108  # for sockets, where TMPDIR is long
SOCKET_BYTES = 103  # in the path of a socket on macOS; 107 on Linux


def private_folder(temporary: Path | None = None) -> Path:
    """Make and check the folder in `temporary`, by default the system's (TMPDIR): mode 0700, whatever the umask.

    Raises StartError where it cannot be made, or is a link, no folder, or another user's.
    """
    folder = (temporary or Path(tempfile.gettempdir())) / f"whisper_serve-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as e:
        raise StartError(f"{folder} cannot be made: {e.strerror}; {remedy(folder)}") from e
    if not stat.S_ISDIR(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "a file"
        raise StartError(f"{folder} is {kind}, planted by {user_name(found.st_uid)}; {remedy(folder)}")
    if found.st_uid != os.geteuid():
        raise StartError(f"{folder} belongs to {user_name(found.st_uid)}; {remedy(folder)}")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)
    return folder


def socket_folder(name: str, longest: int, temporary: Path | None = None) -> Path:
    """A folder in the private one for a program that puts sockets there.

    longest: bytes that it adds to the folder's path. Where the path of a socket would be too long, as with a long TMPDIR,
    the private folder in /tmp is taken.
    """
    folder = private_folder(temporary) / name
    if len(os.fsencode(folder)) + longest > SOCKET_BYTES:
        folder = private_folder(SHORT) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def remedy(folder: Path) -> str:
    return (
        f"remove it, or set TMPDIR to a folder in which no other user can write, in place of {folder.parent}"
    )


def user_name(uid: int) -> str:
    try:
        return f"user {getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
