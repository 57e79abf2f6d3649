"""`python -m loadtest.scale`"""

from loadtest.capacity.scale import main
from loadtest.common.command import run

if __name__ == "__main__":
    run(main)
