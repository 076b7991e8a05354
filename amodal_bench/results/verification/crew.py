"""The processes of a verification."""

from operator import add

from amodal_bench.results.crew import PieceCrew, Work
from amodal_bench.results.verification.ledger import Problem
from amodal_bench.results.verification.orders import PieceOrders
from amodal_bench.results.verification.recount import PieceReport


def crew(orders: PieceOrders, count: int) -> PieceCrew[PieceReport]:
    """So many processes that examine pieces of a run."""
    return PieceCrew(
        Work(f"{__package__}.worker", orders.model_dump_json(), PieceReport.model_validate_json, add, _unreadable),
        count,
    )


def _unreadable(id: str, how: str) -> PieceReport:
    """An instance on which its process died is one that cannot be read."""
    return PieceReport(
        seen=1, problems={}, unreadable=Problem(count=1, examples=(f"{id} (the process that decoded it {how})",))
    )
