"""`python -m loadtest.soak`"""

from loadtest.common.command import run
from loadtest.load.soak import main

if __name__ == "__main__":
    run(main)
