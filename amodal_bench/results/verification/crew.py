"""The processes of a verification."""

from operator import add

from amodal_bench.results.crew import Crew, Work
from amodal_bench.results.verification.ledger import Problem
from amodal_bench.results.verification.orders import Orders
from amodal_bench.results.verification.recount import Report


def crew(orders: Orders, count: int) -> Crew[Report]:
    """So many processes that examine pieces of a run."""
    return Crew(
        Work(f"{__package__}.worker", orders.model_dump_json(), Report.model_validate_json, add, _unreadable), count
    )


def _unreadable(id: str, how: str) -> Report:
    """An instance on which its process died is one that cannot be read."""
    return Report(
        seen=1, problems={}, unreadable=Problem(count=1, examples=(f"{id} (the process that decoded it {how})",))
    )
