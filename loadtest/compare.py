"""`python -m loadtest.compare`"""

from loadtest.common.command import run
from loadtest.load.compare import main

if __name__ == "__main__":
    run(main)
