"""A process gives up, for good, what it does not need. What the system cannot take away is left as it is."""

import ctypes
import fcntl
import os
import resource
import signal
import sys
from contextlib import suppress
from itertools import count, islice

PR_SET_PDEATHSIG = 1  # prctl(2)
PR_SET_NO_NEW_PRIVS = 38

if sys.platform == "linux":
    import landlockpy

    landlockpy.supported()  # here, not in each fork: it looks for the C library


def die_with_parent(parent: int) -> None:
    """Be killed as soon as the process that forked this one, which has this id, has ended; only on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before that
            os.kill(os.getpid(), signal.SIGKILL)


def confine(free_descriptors: int) -> None:
    """Open no more than so many descriptors at a time, and write to no file.

    Linux with Landlock also refuses to open files, to start programs, TCP, and signals to and tracing of others.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        scope = landlockpy.Scope.ABSTRACT_UNIX_SOCKET | landlockpy.Scope.SIGNAL
        with suppress(landlockpy.LandlockError), landlockpy.Ruleset(scoped=scope) as nothing_allowed:
            nothing_allowed.restrict()
    limits = {
        resource.RLIMIT_NOFILE: nth_free_descriptor(free_descriptors),
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))


def nth_free_descriptor(n: int) -> int:
    """The limit under which exactly n more descriptors can be opened."""
    return next(islice((fd for fd in count() if not is_open(fd)), n, None))


def is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True
