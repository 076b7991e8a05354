"""`python -m amodal_bench` is `amodal-bench`."""

from amodal_bench.cli import main

if __name__ == "__main__":
    main()
