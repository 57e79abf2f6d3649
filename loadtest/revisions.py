"""`python -m loadtest.revisions`"""

from loadtest.bench.revisions import main
from loadtest.common.command import run

if __name__ == "__main__":
    run(main)
