// The overview: switch protocol and bucket, filter, sort.

const rows = [...document.querySelectorAll("#overview tbody tr")];
let sorting = { name: "dataset", down: false };

function showNumber(place, cell) {
  place.className = "number";
  if (!cell || cell[0] === "") {
    const why = cell ? "undefined" : "not scored";
    return place.replaceChildren(make("span", { class: "none" }, why));
  }
  const [value, low, high, , , rank] = cell;
  if (rank) place.classList.add(rank === 1 ? "best" : "second");
  place.replaceChildren(make("span", { class: "value" }, value));
  if (low === "") return undefined;
  const whisker = make("span", { class: "whisker", "aria-hidden": "true" });
  for (const [name, text] of Object.entries({ value, low, high })) whisker.style.setProperty(`--${name}`, text);
  place.append(" ", make("span", { class: "interval" }, `[${low}, ${high}]`), whisker);
  return undefined;
}

function counts(cells) {
  const shown = METRICS.filter((name) => cells[name]).map((name) => {
    const [, , , n, undefined_] = cells[name];
    return n.toLocaleString("en") + (undefined_ ? ` (+${undefined_} undefined)` : "");
  });
  return shown.join(" / ");
}

function showNumbers(now) {
  for (const row of rows) {
    const run = content.runs[row.dataset.run];
    const cells = run.cells[now.protocol.id][now.subset] || {};
    for (const place of row.querySelectorAll("[data-metric]")) showNumber(place, cells[place.dataset.metric]);
    row.querySelector("[data-n]").textContent = counts(cells);
    row.hidden = !passes(run, now);
  }
  const shown = rows.filter((row) => !row.hidden).length;
  byId("count").textContent = `${shown} of ${rows.length} runs`;
  const p = now.protocol;
  byId("about").textContent = `${p.id}: ${p.title}. Source: ${p.source}. ${p.evidence}`;
}

function sortKey(row, now) {
  const run = content.runs[row.dataset.run];
  const cells = run.cells[now.protocol.id][now.subset] || {};
  const number = (text) => (text === undefined || text === "" ? NaN : Number(text));
  const keys = {
    dataset: run.data, method: run.label, weights: run.setting, state: run.state, "s/instance": number(run.seconds),
    n: number((cells.mIoU_full || cells.mIoU_inv || [])[3]),
  };
  return sorting.name in keys ? keys[sorting.name] : number((cells[sorting.name] || [])[0]);
}

/** Numbers by size, words by letters, what is undefined always last. */
function compare(a, b) {
  if (typeof a === "string") return (sorting.down ? -1 : 1) * a.localeCompare(b, "en", { numeric: true });
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
  return sorting.down ? b - a : a - b;
}

function sortRows(now) {
  const keys = new Map(rows.map((row) => [row, sortKey(row, now)]));
  const sorted = [...rows].sort((x, y) => compare(keys.get(x), keys.get(y)) || x.dataset.run - y.dataset.run);
  document.querySelector("#overview tbody").append(...sorted);
}

function wireSorting(update) {
  for (const button of document.querySelectorAll("[data-sort]")) {
    button.addEventListener("click", () => {
      const name = button.dataset.sort;
      const number = button.parentElement.classList.contains("number");
      sorting = { name, down: sorting.name === name ? !sorting.down : number };
      for (const head of document.querySelectorAll("#overview thead th")) head.removeAttribute("aria-sort");
      button.parentElement.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
      update();
    });
  }
}
