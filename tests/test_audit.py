"""The audit: what it finds in the papers, and the same predictions under every protocol."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from amodal_bench.cli import application
from amodal_bench.metrics.protocol import protocols
from amodal_bench.metrics.scores import metrics
from amodal_bench.store import folder as store
from amodal_bench.tables.audit import AuditFinding, claimed, findings, spread
from amodal_bench.tables.spec import find_table

app = application()

RUNS = Path(__file__).parent / "data" / "runs"


def found(table: str, kind: str) -> list[AuditFinding]:
    return [finding for finding in findings() if finding.table == table and finding.kind == kind]


def test_the_third_table_compares_means_with_pooled_pixels_and_predicted_with_true_visible_masks() -> None:
    (aggregate,) = found("conddiff-3", "aggregate")
    assert "CondDiff-AMO: pooled pixels; Deocclusion_One, AISformer, VRSP, C2F-Seg: mean of instances" in aggregate.text
    (visible,) = found("conddiff-3", "visible masks")
    assert "CondDiff-AMO: truth" in visible.text
    assert "C2F-Seg: predicted" in visible.text
    assert len(found("conddiff-3", "pasting")) == 1


def test_the_first_table_counts_other_instances_in_its_invisible_score() -> None:
    (finding,) = found("conddiff-1", "invisible score")
    assert "CondDiff-AMO: occluded instances; Deocclusion_One, Deocclusion_Two, ASBU, SDAmodal: all" in finding.text
    assert "1.7 to 9.5 points" in finding.text


def test_what_the_protocol_is_worth_is_the_difference_of_two_printed_values() -> None:
    worth = {f.text.split(":")[0]: f.points for f in found("conddiff-3", "worth") if "true visible masks" in f.text}
    assert worth == {
        "KINS/mIoU_full": 5.67, "KINS/mIoU_inv": 3.70, "COCOA-cls/mIoU_full": 6.87, "COCOA-cls/mIoU_inv": 8.98,
    }  # fmt: skip
    assert any("+5.67 points with the same model; CondDiff-AMO claims +12.99" in f.text for f in findings())


def test_claims_are_recomputed_with_the_row_they_praise_and_with_the_others() -> None:
    claims = {f.text.split(":")[1].split('"')[1]: f for f in found("tuning-free-1", "claim")}
    points = {says: f.points for says, f in claims.items()}
    assert points == {
        "5.3 %": 5.3, "12.1 %": 12.07, "21.2": 21.2, "1.9": 1.9, "14.3": 14.3, "8.5 %": 8.5, "26.9 %": 26.92,
    }  # fmt: skip
    assert "Ours (Flux) gives 12.07, as said; Ours (SDXL) 10.70" in claims["12.1 %"].text
    assert "Ours (SDXL) 13.52" in claims["8.5 %"].text
    seven, three = found("conddiff-3", "claim")
    assert (seven.points, three.points) == (7.64, 2.87)
    assert "gives 7.64, as said" in seven.text
    assert "gives 2.87, where 3.0 is said" in three.text


def test_the_smallest_margin_is_over_the_best_other_row_of_each_column() -> None:
    spec = find_table("conddiff-3")
    by_hand = min(85.07 - 81.45, 82.57 - 79.08, 87.52 - 84.65)
    assert claimed(spec, spec.claims[1], "conddiff-amo-zero-shot") == pytest.approx(by_hand)


def test_averages_that_add_up_are_counted() -> None:
    (finding,) = found("tuning-free-1", "average")
    assert finding.text == "7 printed averages are the plain means of their columns"


def test_one_method_with_several_values_is_a_contradiction() -> None:
    contradictions = {f.text.split(":")[0]: f.points for f in findings() if f.kind == "contradiction"}
    assert contradictions["Pix2gestalt on kins, mIoU_full"] == 42.25
    assert contradictions["SAM on kins, mIoU_full"] == 35.08
    assert contradictions["Ours (SDXL) on coco_a, mIoU_full"] == 6.2
    assert not any(text.startswith("C2F-Seg (retrain)") for text in contradictions)  # two trainings, not one


def test_what_is_not_known_is_said_and_rows_of_one_origin_are_not_accused() -> None:
    assert any("SAM, C2F-Seg (retrain), SDXL-Inpainting, Pix2gestalt: aggregate" in f.text for f in findings())
    assert {f.kind for f in findings() if f.table == "conddiff-4"} == {"remark"}


def test_the_spread_is_every_protocol_of_the_same_counts() -> None:
    (folder,) = (f for f in store.find_runs(RUNS) if f.record()["preset"] == "dilate")
    frame = folder.instances()
    table = spread(frame, draws=200).set_index("protocol")
    assert list(table.index) == list(protocols())
    for protocol in protocols().values():
        wanted = metrics(frame, protocol, draws=200)
        for row in wanted[wanted["subset"] == "all"].to_dict("records"):
            cells = table.loc[protocol.id]
            metric = row["metric"]
            assert [cells[metric], cells[f"{metric}_low"], cells[f"{metric}_n"]] == [row["value"], row["low"], row["n"]]
    assert np.isnan(table["mIoU_inv"]["deocclusion/1"])


def test_the_spread_of_nothing_is_nan() -> None:
    frame = pd.DataFrame({"group_id": [], **{f"v{k}": np.empty(0, dtype=np.int64) for k in range(8)}})
    assert spread(frame)["mIoU_full"].isna().all()


def test_the_page_lists_the_findings_as_they_are_now() -> None:
    """After a change of the facts: amodal-bench audit --markdown, and replace the table of docs/audit.md by it."""
    done = CliRunner().invoke(app, ["audit", "--markdown"])
    assert done.output in (Path(__file__).parent.parent / "docs" / "audit.md").read_text()


def test_the_command_prints_findings_and_for_a_run_the_worth_of_a_protocol() -> None:
    done = CliRunner().invoke(app, ["audit"])
    assert done.exit_code == 0, done.output
    assert "conddiff-3" in done.output
    assert "+5.67" in done.output
    (run,) = (RUNS / "squares" / "test" / "dilate").iterdir()
    again = CliRunner().invoke(app, ["audit", str(run)])
    assert again.exit_code == 0, again.output
    assert "points between sdamodal/1 and" in again.output
