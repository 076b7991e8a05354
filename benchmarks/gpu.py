"""What a CUDA card makes of the methods: speed, memory, and whether its masks are a CPU's.

    python benchmarks/gpu.py conddiff|inpaint [--out FILE] [--minutes M] [--only STAGE ...] [--cpu-dry-run]

Stage by stage into one JSON file (default: gpu-METHOD.json). No stage begins that would not end in four minutes; the
same command goes on with those that are left. Without a card it says so and ends with 2; `--cpu-dry-run` goes through
all stages at tiny sizes and measures nothing. The parts are in benchmarks/cards/.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("cards")))

from command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
