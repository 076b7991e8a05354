// Wiring, light and dark, print.

function fillSubsets() {
  fill(byId("subset"), chosen().protocol.subsets.map((subset) => [subset.name, subset.text]));
}

function update() {
  const now = chosen();
  showNumbers(now);
  sortRows(now);
  showCurves(now);
  showSplits(now);
  showProtocols(now);
}

function chooseData() {
  const now = chosen();
  if (now.data) {
    byId("g-data").value = now.data;
    fillGallery();
  }
  fillPairs(now);
  update();
}

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";

function showTheme() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  byId("theme").setAttribute("aria-pressed", String(isDark()));
}

/** Follow a link to a run's provenance into its closed box. */
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

byId("protocol").addEventListener("change", () => { fillSubsets(); update(); });
byId("subset").addEventListener("change", update);
byId("data").addEventListener("change", chooseData);
byId("method").addEventListener("input", update);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => setTimeout(() => { fillSubsets(); chooseData(); }));
byId("pair").addEventListener("change", showPair);
byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  showTheme();
});
dark.addEventListener("change", showTheme);
window.addEventListener("hashchange", openTarget);
window.addEventListener("beforeprint", () => {
  for (const box of document.querySelectorAll("details")) box.open = true;
});
wireSorting(update);
wireGallery();
fillSubsets();
fillGallery();
fillPairs(chosen());
update();
showTheme();
openTarget();
