"""`python -m loadtest.engine_bench`"""

from loadtest.bench.engine_bench import main
from loadtest.common.command import run

if __name__ == "__main__":
    run(main)
