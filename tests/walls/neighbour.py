"""What another user can do in a folder: prints as JSON which sockets it finds, where it can write, what it can rename.

python neighbour.py FOLDER     run by the tests in a process of its own; names are put back
"""

import json
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from tests.support.namespaces import become_nobody


def main(top: Path) -> dict[str, list[str]]:
    sockets, written, moved = [], [], []
    for folder, folders, files in os.walk(top):
        if os.access(folder, os.W_OK):
            written.append(folder)
        for path in (Path(folder) / name for name in folders + files):
            with suppress(OSError):
                if stat.S_ISSOCK(path.lstat().st_mode):
                    sockets.append(str(path))
                path.rename(aside := path.with_name(f"{path.name}.moved"))
                moved.append(str(path))
                aside.rename(path)
    return {"sockets": sockets, "written": written, "moved": moved}


if __name__ == "__main__":
    become_nobody()
    print(json.dumps(main(Path(sys.argv[1]))))
