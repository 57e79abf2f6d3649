"""`python -m loadtest`"""

from loadtest.common.command import run
from loadtest.load.run import main

if __name__ == "__main__":
    run(main)
