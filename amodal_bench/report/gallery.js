// The gallery: order, slider over the occlusion rate, and a viewer for one instance.

let shown = [];
let open = 0;
const current = () => content.galleries.find((g) => g.data === byId("g-data").value);

/** Score of an item for a run, NaN where undefined. */
function scoreOf(item, label) {
  const text = (item.scores[label] || [])[byId("g-metric").value];
  return text ? Number(text) : NaN;
}

/** What to sort by, the smallest first. */
function place(item, a, b) {
  const keys = {
    worst: scoreOf(item, a),
    best: -scoreOf(item, a),
    difference: -Math.abs(scoreOf(item, a) - scoreOf(item, b)),
    rate: -Number(item.rate),
  };
  return keys[byId("g-order").value];
}

function scoreLine(item, names) {
  const metric = METRICS[byId("g-metric").value];
  const parts = names.map((name) => `${name} ${item.scores[name][METRICS.indexOf(metric)] || "undefined"}`);
  return parts.join(" · ");
}

function picture(item, name, caption) {
  return make("img", { src: item.files[name], alt: `${caption}: ${item.id}`, loading: "lazy", width: 256, height: 256 });
}

function card(item, k, names) {
  const button = make("button", { type: "button", class: "card", "data-card": k, "aria-haspopup": "dialog" });
  if (item.files.truth) {
    const strip = make("span", { class: "strip" }, picture(item, "visible", "given visible mask"), picture(item, "truth", "truth"));
    for (const name of names) {
      if (item.files[`errors ${name}`]) strip.append(picture(item, `errors ${name}`, `errors of ${name}`));
    }
    button.append(strip);
  }
  const facts = [item.category, `rate ${item.rate}`].filter((text) => text).join(", ");
  button.append(
    make("span", { class: "id" }, `${item.id.split("/").slice(2).join("/")} · ${facts}`),
    make("span", { class: "scores" }, scoreLine(item, names)),
  );
  button.addEventListener("click", () => view(k));
  return make("li", {}, button);
}

function showGallery() {
  const gallery = current();
  const [a, b] = [byId("g-a").value, byId("g-b").value];
  const names = [...new Set([a, b])].filter((name) => name);
  const [low, high] = ["g-low", "g-high"].map((id) => Number(byId(id).value));
  const keys = new Map(gallery.items.map((item) => [item, place(item, a, b)]));
  shown = gallery.items.filter((item) => item.rate >= low && item.rate <= high);
  shown.sort((x, y) => {
    const [p, q] = [keys.get(x), keys.get(y)];
    return Number.isNaN(p) - Number.isNaN(q) || p - q || (x.id < y.id ? -1 : 1);
  });
  byId("g-count").textContent = `rate ${low.toFixed(2)} to ${high.toFixed(2)}: ${shown.length} of ${gallery.items.length}`;
  byId("g-note").textContent = `${gallery.note} ${gallery.fault}`;
  byId("g-cards").replaceChildren(...shown.map((item, k) => card(item, k, names)));
}

function fillGallery() {
  const names = current().runs.map((name) => [name, name]);
  fill(byId("g-a"), names);
  const before = byId("g-b").value;
  fill(byId("g-b"), [...names.slice(1), ...names.slice(0, 1)]);
  if (names.some(([name]) => name === before)) byId("g-b").value = before;
  showGallery();
}

function view(k) {
  open = (k + shown.length) % shown.length;
  const item = shown[open];
  byId("v-title").textContent = item.id;
  const facts = [item.category, `occlusion rate ${item.rate}`, current().protocol].filter((text) => text).join(" · ");
  byId("v-facts").textContent = `${open + 1} of ${shown.length} · ${facts}`;
  const captions = Object.keys(item.files).map((name) => {
    const run = name.startsWith("errors ") ? name.slice(7) : null;
    const [full, hidden] = run ? item.scores[run] : [];
    const words = run ? `${run}: full ${full || "undefined"}, invisible ${hidden || "undefined"}` : name === "visible" ? "given visible mask" : name;
    return make("figure", {}, picture(item, name, words), make("figcaption", {}, words));
  });
  const scores = current().runs.map((run) => [run, ...item.scores[run].map((text) => text || "undefined")]);
  byId("v-pictures").replaceChildren(...(captions.length ? captions : [table("scores", ["method", ...METRICS], scores, 1)]));
  if (!byId("viewer").open) byId("viewer").showModal();
}

function wireGallery() {
  byId("g-data").addEventListener("change", fillGallery);
  for (const id of ["g-order", "g-a", "g-b", "g-metric"]) byId(id).addEventListener("change", showGallery);
  byId("g-low").addEventListener("input", () => {
    byId("g-high").value = Math.max(byId("g-high").value, byId("g-low").value);
    showGallery();
  });
  byId("g-high").addEventListener("input", () => {
    byId("g-low").value = Math.min(byId("g-high").value, byId("g-low").value);
    showGallery();
  });
  byId("v-before").addEventListener("click", () => view(open - 1));
  byId("v-after").addEventListener("click", () => view(open + 1));
  byId("v-close").addEventListener("click", () => byId("viewer").close());
  byId("viewer").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") view(open - 1);
    if (event.key === "ArrowRight") view(open + 1);
  });
  byId("viewer").addEventListener("close", () => document.querySelector(`[data-card="${open}"]`)?.focus());
}
