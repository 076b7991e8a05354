// Curves over the occlusion rate, stacked bars of the error split, and one run under every protocol.

const BOX = { width: 480, height: 270, left: 34, right: 8, top: 8, bottom: 44 };
const SHAPES = ["M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", "M-4-4h8v8h-8z", "M0-5L5 4H-5z", "M0-5L5 0L0 5L-5 0z",
  "M0 5L5-4H-5z", "M-5-2h3v-3h4v3h3v4h-3v3h-4v-3h-3z", "M-4-4L4 4M4-4L-4 4", "M0-5V5M-5 0H5"];
const across = (rate) => BOX.left + 8 + rate * (BOX.width - BOX.left - BOX.right - 16);
const upward = (value) => BOX.top + (1 - value / 100) * (BOX.height - BOX.top - BOX.bottom);

function frame(buckets) {
  const parts = [];
  buckets.forEach((bucket, k) => {
    const [from, to] = [across(bucket.low), across(bucket.high)];
    if (k % 2 && to > from) {
      parts.push(draw("rect", { class: "band", x: from, width: to - from, y: BOX.top, height: upward(0) - BOX.top }));
    }
  });
  for (const value of [0, 20, 40, 60, 80, 100]) {
    parts.push(draw("line", { class: "grid", x1: BOX.left, x2: BOX.width - BOX.right, y1: upward(value), y2: upward(value) }));
    parts.push(draw("text", { x: BOX.left - 6, y: upward(value) + 4, "text-anchor": "end" }, String(value)));
  }
  for (const rate of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    parts.push(draw("text", { x: across(rate), y: upward(0) + 16, "text-anchor": "middle" }, String(rate)));
  }
  parts.push(draw("text", { x: BOX.width / 2, y: BOX.height - 8, "text-anchor": "middle" }, "occlusion rate (hidden / amodal)"));
  return parts;
}

/** The points of one run's line; those without a value are gaps. */
function points(run, now, metric, buckets) {
  return buckets.map((bucket) => {
    const cell = (run.cells[now.protocol.id][bucket.name] || {})[metric];
    if (!cell || cell[0] === "") return null;
    return { x: across((bucket.low + bucket.high) / 2), cell, text: bucket.text };
  }).filter((point) => point);
}

function line(run, found, metric) {
  const ink = `var(--c${colour(run.label)})`;
  const sure = found.filter((point) => point.cell[1] !== "");
  const top = sure.map((point) => `${point.x},${upward(point.cell[2])}`);
  const bottom = sure.map((point) => `${point.x},${upward(point.cell[1])}`).reverse();
  const way = found.map((point) => `${point.x},${upward(point.cell[0])}`).join(" ");
  const marks = found.map((point) => {
    const [value, low, high, n] = point.cell;
    const interval = low === "" ? "" : ` [${low}, ${high}]`;
    const mark = draw("path", {
      d: SHAPES[colour(run.label)], fill: ink, stroke: ink, "stroke-width": 1.5,
      transform: `translate(${point.x} ${upward(value)})`,
    });
    mark.append(draw("title", {}, `${run.label}, ${point.text}: ${metric} ${value}${interval}, n ${n}`));
    return mark;
  });
  return [
    draw("polygon", { points: [...top, ...bottom].join(" "), fill: ink, opacity: 0.16 }),
    draw("polyline", { points: way, fill: "none", stroke: ink, "stroke-width": 2 }),
    ...marks,
  ];
}

function curve(runs, now, metric, data) {
  const buckets = now.protocol.subsets.filter((s) => s.name.startsWith("bucket "));
  const name = `${metric} against the occlusion rate on ${data}`;
  const drawing = draw("svg", { class: "chart", viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img", "aria-label": name });
  drawing.append(...frame(buckets));
  for (const run of runs) drawing.append(...line(run, points(run, now, metric, buckets), metric));
  return make("figure", {}, make("figcaption", {}, `${metric} (%), ${now.protocol.id}`), drawing);
}

function legend(runs) {
  return make("ul", { class: "legend" }, ...runs.map((run) => {
    const ink = `var(--c${colour(run.label)})`;
    const key = draw("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" },
      draw("path", { d: "M0 6H26", stroke: ink, "stroke-width": 2 }),
      draw("path", { d: SHAPES[colour(run.label)], fill: ink, stroke: ink, transform: "translate(13 6)" }));
    return make("li", {}, key, ` ${run.label}${run.ranked ? "" : ` (${run.state})`}`);
  }));
}

function showCurves(now) {
  const parts = [];
  for (const [data, runs] of blocks(now)) {
    parts.push(make("h3", {}, data), legend(runs));
    for (const metric of now.protocol.metrics) parts.push(curve(runs, now, metric, data));
  }
  byId("curves-body").replaceChildren(...parts);
}

function stack(shares) {
  const words = content.parts.map((part, k) => `${part.replace("_", " ")} ${shares[k]} %`).join(", ");
  const bar = make("div", { class: "stack", role: "img", "aria-label": words, title: words });
  content.parts.forEach((part, k) => {
    const piece = make("span", { class: part }, Number(shares[k]) >= 7 ? shares[k] : "");
    piece.style.flex = `${shares[k]} 0 0`;
    bar.append(piece);
  });
  return bar;
}

/** A row a run: every metric that is no headline, with its interval. */
function otherNumbers(runs, now) {
  return runs.map((run) => {
    const cells = run.cells[now.protocol.id][now.subset] || {};
    return [run.label, ...content.others.map((name) => {
      const [value, low, high] = cells[name] || [""];
      return value ? `${value}${low ? ` [${low}, ${high}]` : ""}` : "-";
    })];
  });
}

function showSplits(now) {
  const parts = [];
  for (const [data, runs] of blocks(now)) {
    const box = make("div", { class: "split" });
    for (const run of runs) {
      const shares = (run.split[now.protocol.id] || {})[now.subset];
      const there = shares && shares[0] !== "";
      box.append(make("span", {}, run.label), there ? stack(shares) : make("span", { class: "none" }, "no instance"));
    }
    const rates = now.protocol.subsets.find((s) => s.name === now.subset);
    const title = `${data}, ${rates ? rates.text : "all rates"}`;
    parts.push(make("h3", {}, title), box, table(title, ["method", ...content.others], otherNumbers(runs, now), 1));
  }
  byId("errors-body").replaceChildren(...parts);
}

/** Each run under each protocol, whatever protocol is chosen above. */
function showProtocols(now) {
  const head = ["method", "metric", ...content.protocols.map((p) => p.id), "largest - smallest"];
  const parts = [];
  for (const [data, runs] of blocks(now)) {
    const body = runs.flatMap((run) => METRICS.map((metric) => {
      const values = content.protocols.map((p) => (run.cells[p.id].all[metric] || [""])[0] || "-");
      return [run.label, metric, ...values, run.spread[metric] || "-"];
    }));
    parts.push(make("h3", {}, data), table(`every protocol on ${data}`, head, body, 2));
  }
  byId("protocols-body").replaceChildren(...parts);
}
