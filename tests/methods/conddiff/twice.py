"""Several trainings in one start of `torchrun`, which takes ten seconds: command lines as JSON."""

import json
import sys

from accelerate.state import AcceleratorState

from amodal_bench.cli import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["amodal-bench", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    AcceleratorState._reset_state(reset_partial_state=True)  # the group of processes was ended with the training
