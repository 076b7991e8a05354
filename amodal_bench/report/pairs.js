// Two runs on the same instances.

function showPair() {
  const pair = content.pairs[byId("pair").value];
  if (!pair) {
    byId("pair-body").replaceChildren(make("p", { class: "hint" }, "A comparison takes two runs on the same data."));
    return;
  }
  const parts = [make("h3", {}, `A: ${pair.a}, B: ${pair.b}, on ${pair.data}`)];
  if (pair.fault) {
    parts.push(make("p", { class: "notice" }, pair.fault));
  } else {
    const how = "Intervals: bootstrap over groups, the same draws for both; p: two-sided, signs of whole groups flipped.";
    parts.push(make("p", { class: "hint" }, `${pair.protocol}, percent; above 0: A is better. ${pair.note} ${how}`));
    for (const { title, head, rows: body, words } of pair.tables) {
      parts.push(make("h3", {}, title), table(title, head, body, words));
    }
  }
  byId("pair-body").replaceChildren(...parts);
}

function fillPairs(now) {
  const fitting = content.pairs.map((pair, k) => [String(k), pair]).filter(([, pair]) => !now.data || pair.data === now.data);
  fill(byId("pair"), fitting.map(([k, pair]) => [k, `${pair.a} against ${pair.b} (${pair.data})`]));
  byId("pair").disabled = !fitting.length;
  showPair();
}
