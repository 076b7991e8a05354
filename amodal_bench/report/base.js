"use strict";
// Small parts that the rest is made of. All text goes in as text, never as markup.

const content = JSON.parse(document.getElementById("content").textContent);
const METRICS = content.metrics;
const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** The same for drawings. */
function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A table in a box that scrolls sideways; the first `words` columns hold text. */
function table(title, head, rows, words) {
  const kind = (place) => (place < words ? "" : "number");
  const top = make("tr", {}, ...head.map((text, k) => make("th", { scope: "col", class: kind(k) }, text)));
  const body = rows.map((row) => make("tr", {}, ...row.map((cell, k) => make("td", { class: kind(k) }, cell))));
  const whole = make("table", { class: "plain" }, make("thead", {}, top), make("tbody", {}, ...body));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, whole);
}

/** Fill a select with [value, text] pairs, keeping what was chosen where it is still there. */
function fill(select, pairs) {
  const before = select.value;
  select.replaceChildren(...pairs.map(([value, text]) => make("option", { value }, text)));
  select.value = pairs.some(([value]) => value === before) ? before : pairs.length ? pairs[0][0] : "";
}

/** What the filters say now. */
function chosen() {
  const protocol = content.protocols.find((p) => p.id === byId("protocol").value);
  return {
    protocol,
    subset: byId("subset").value || "all",
    data: byId("data").value,
    method: byId("method").value.trim().toLowerCase(),
  };
}

/** Whether a run passes the filters. */
function passes(run, now) {
  return (!now.data || run.data === now.data) && run.label.toLowerCase().includes(now.method);
}

/** The runs that pass, by their data. */
function blocks(now) {
  const found = new Map();
  for (const run of content.runs.filter((r) => passes(r, now))) {
    if (!found.has(run.data)) found.set(run.data, []);
    found.get(run.data).push(run);
  }
  return found;
}

const labels = [...new Set(content.runs.map((run) => run.label))];
/** Number of a method's colour: the same on the whole page. */
const colour = (label) => labels.indexOf(label) % 8;
