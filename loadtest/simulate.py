"""`python -m loadtest.simulate`"""

from loadtest.capacity.simulate import main
from loadtest.common.command import run

if __name__ == "__main__":
    run(main)
