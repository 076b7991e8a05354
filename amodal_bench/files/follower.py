"""`python -m amodal_bench.files.follower MODULE ARGUMENT...`: as `python -m MODULE`, but it ends with its parent.

The parent holds the other end of this process's input. However it ends, by a signal too that leaves it no time to say
so, the input ends with it.
"""

import os
import runpy
import sys
import threading

from amodal_bench.text import streams


def main() -> None:
    """Run the module as the main one, with its own arguments."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    while os.read(0, 4096):  # not by sys.stdin, whose lock would be held when the process ends
        continue
    os._exit(1)


if __name__ == "__main__":
    streams.guard()
    main()
