"""configs/tables/*.yaml: the papers' tables as data, with how each value was computed and what re-makes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files import configs
from amodal_bench.files.documents import read_yaml
from amodal_bench.files.stamp import remembered
from amodal_bench.metrics.protocol import DEFAULT, find_protocol
from amodal_bench.plugin import Settings

UNKNOWN = "unknown"


class Origin(Settings):
    """How a published value was computed, and how that is known.

    `protocol` is the id in configs/protocols that reproduces it (None: unknown, or none does); `visible` the masks
    that the method was given; `basis` how the statement is known: the paper says so, its released code does so,
    it is inferred, or nothing is known. `alike`: the values were at least made by one evaluation, so that they can
    be ranked among themselves though it is not described.
    """

    protocol: str | None = None
    basis: Literal["stated", "code", "inferred", "unknown"]
    visible: Literal["truth", "predicted", "unknown"] = "unknown"
    split: str = UNKNOWN
    instances: str = UNKNOWN
    copied_from: str = ""
    alike: bool = False
    evidence: str

    @property
    def ranked(self) -> bool:
        """Whether values of this origin may be ranked among themselves."""
        return self.protocol is not None or self.alike

    def traits(self) -> dict[str, str]:
        """What must be equal for two values to be compared."""
        shared = {"visible masks": self.visible, "split": self.split, "instances": self.instances}
        if self.protocol is None:
            return {"aggregate": UNKNOWN, "invisible score": UNKNOWN, "pasting": UNKNOWN, **shared}
        protocol = find_protocol(self.protocol)
        counted = {"occluded": "occluded instances", "all": "all instances", "none": "none"}
        return {
            "aggregate": {"mean": "mean of instances", "pooled": "pooled pixels"}[protocol.aggregate],
            "invisible score": counted[protocol.invisible],
            "pasting": "visible mask pasted" if protocol.paste else "nothing pasted",
            **shared,
        }


class ColumnSpec(Settings):
    """A column of values: dataset and metric as printed, `dataset_key` and `split` of the dataset that re-makes it.

    A column with `mean_of` is the plain mean of other columns (of the table in `derived_from`, if that is set),
    less the mean of those in `minus`.
    """

    old_names: ClassVar = {"key": "dataset_key"}

    dataset: str
    metric: str = "mIoU_full"
    dataset_key: str | None = None
    split: str | None = None
    options: dict[str, Any] = {}
    mean_of: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`KINS/mIoU_full`."""
        return f"{self.dataset}/{self.metric}"


class RowSpec(Settings):
    """A row: its label as printed, the printed values by column id, and the preset that re-makes it.

    `method_id` names the same method in every table; `origins` overrides `origin` for single columns; `proposed`
    marks the rows of the paper's own method; `source` is the publication of a row that the two papers do not hold.
    """

    old_names: ClassVar = {"who": "method_id", "own": "proposed"}

    id: str
    method: str
    label: str = ""
    setting: str = ""
    backbone: str = ""
    method_id: str = ""
    proposed: bool = False
    printed: dict[str, float] = {}
    origin: str = UNKNOWN
    origins: dict[str, str] = {}
    preset: str | None = None
    visible: str = "gt"
    options: dict[str, Any] = {}
    source: str = ""
    note: str = ""

    @property
    def title(self) -> str:
        """The label that is printed, with the backbone where the paper names one."""
        return self.label or (f"{self.method} ({self.backbone})" if self.backbone and self.proposed else self.method)

    @property
    def section(self) -> str:
        """`supervised` or `zero-shot`: rows of different sections are not ranked against one another."""
        return self.setting.split(";")[0].split(" (")[0].strip()


class Claim(Settings):
    """A sentence of the paper, to be recomputed from the printed values; `also` repeats it with other rows.

    `difference`: mean over `columns` of `row` less `over`; `smallest`: least of these over the columns, against the
    best row of `over`; `gap`: mean of `row` over `columns` less its mean over `minus`.
    """

    old_names: ClassVar = {"says": "claimed"}

    text: str
    claimed: float
    kind: Literal["difference", "smallest", "gap"] = "difference"
    row: str
    over: tuple[str, ...] = ()
    columns: tuple[str, ...]
    minus: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    remark: str = ""


class Shift(Settings):
    """One method re-evaluated, `before` and `after` (TABLE:ROW:COLUMN), beside the gain that row `row` claims."""

    row: str
    before: str
    after: str
    text: str


class TableSpec(Settings):
    """One table of a paper; `references` name the runs (floors and ceilings) that are shown below, unranked."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    paper: str
    table: str
    title: str
    source: str
    digits: int = Field(default=1, ge=0, le=4)
    default_protocol: str = DEFAULT
    derived_from: str | None = None
    references: tuple[str, ...] = ()
    columns: tuple[ColumnSpec, ...]
    origins: dict[str, Origin] = {}
    rows: tuple[RowSpec, ...]
    claims: tuple[Claim, ...] = ()
    shifts: tuple[Shift, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def preset_rows(self) -> bool:
        """Whether anything of it can be re-made here; values of other publications are shown on request only."""
        return any(row.preset for row in self.rows)

    def row(self, id: str) -> RowSpec:
        """The row of that id; raises `UnknownName`."""
        found = {row.id: row for row in self.rows}
        if id not in found:
            raise UnknownName(f"row of table {self.name}", id, found)
        return found[id]

    def column(self, id: str) -> ColumnSpec:
        """The column of that id; raises `UnknownName`."""
        found = {column.id: column for column in self.columns}
        if id not in found:
            raise UnknownName(f"column of table {self.name}", id, found)
        return found[id]

    def origin_id(self, row: RowSpec, column: str) -> str:
        """Which of `origins` made a value."""
        return row.origins.get(column, row.origin)

    def origin(self, row: RowSpec, column: str) -> Origin:
        """How a value was computed."""
        return self.origins[self.origin_id(row, column)]


def tables() -> dict[str, TableSpec]:
    """Every table that can be read, by name; `tables` and `list` tell of the others."""
    return configs.read_all("tables", read_spec)[0]


def find_table(name: str) -> TableSpec:
    """The table of that name or in that file; raises `UnknownName` with suggestions."""
    return read_spec(table_file(name))


def table_file(name: str) -> Path:
    """Where a table lies; raises `UnknownName`."""
    file = configs.find("tables", name)
    if file is None:
        raise UnknownName("table", name, configs.names("tables"))
    return file.path


@remembered(most=100)
def read_spec(path: Path) -> TableSpec:
    """Read one file; raises `Refused` naming the file and what is wrong."""
    try:
        spec = TableSpec.model_validate(read_yaml(path, "a table"))
    except ValidationError as error:
        raise Refused(f"{path}: not a table: {error}") from None
    fault = next(_faults(spec, path), None)
    if fault:
        raise Refused(f"{path}: {fault}")
    return spec


def _faults(spec: TableSpec, path: Path) -> Iterator[str]:
    if spec.name != path.stem:
        yield f"the file of table {spec.name!r} must be called {spec.name}.yaml"
    ids = [row.id for row in spec.rows]
    if len(set(ids)) < len(ids):
        yield "two rows have one id"
    columns = {column.id for column in spec.columns}
    for row in spec.rows:
        used = {*row.origins.values(), *([row.origin] if row.printed else [])}
        yield from (f"row {row.id}: no origin {name!r}" for name in sorted(used - set(spec.origins)))
        yield from (f"row {row.id}: no column {name!r}" for name in sorted({*row.printed, *row.origins} - columns))
    for claim in spec.claims:
        named = {claim.row, *claim.over, *claim.also}
        yield from (f"claim {claim.text!r}: no row {name!r}" for name in sorted(named - set(ids)))
    protocol_fields = {"default_protocol": spec.default_protocol} | {
        f"origin {n}": o.protocol for n, o in spec.origins.items()
    }
    for field, protocol in protocol_fields.items():
        try:
            find_protocol(protocol or DEFAULT)
        except Refused as error:
            yield f"{field}: {error}"
