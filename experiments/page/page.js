"use strict";
const $ = (id) => document.getElementById(id);
const collator = new Intl.Collator("en", { numeric: true });

// Tables.

function sort(header) {
  const table = header.closest("table"), body = table.tBodies[0];
  const place = header.cellIndex;
  const order = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const isNumeric = header.classList.contains("n");
  const text = (row) => row.cells[place].textContent;
  const number = (row) => parseFloat(text(row).replaceAll("−", "-").replace(/^[<>+]/, ""));
  const missing = (row) => ["", "–"].includes(text(row));
  const rows = [...body.rows].sort((one, other) => {
    if (missing(one) || missing(other)) return missing(one) - missing(other); // always last
    const compared = collator.compare(text(one), text(other));
    return order * (isNumeric ? number(one) - number(other) : compared);
  });
  body.append(...rows);
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
}

for (const button of document.querySelectorAll("th[aria-sort] button"))
  button.addEventListener("click", () => sort(button.closest("th")));

// A head sticks to the window only where its table does not scroll in a box of its own.
const fitting = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    const box = target.parentElement;
    const scrolls = target.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("scrolls", scrolls);
    box.classList.toggle("fits", !scrolls);
    if (scrolls) box.tabIndex = 0; // the arrow keys scroll it
    else box.removeAttribute("tabindex");
  }
});
for (const inside of document.querySelectorAll(".box > *")) fitting.observe(inside);

// On paper nothing can be opened.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});

// A link may lead into what is closed.
function reveal() {
  const target = $(decodeURIComponent(location.hash.slice(1)));
  const details = target?.closest("details");
  if (details && !details.open) {
    details.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", reveal);
reveal();

// Charts.

const data = JSON.parse($("data").textContent);
const { charts, colors } = JSON.parse($("specs").textContent);
const options = { mode: "vega-lite", renderer: "svg", actions: false, logLevel: vega.Error };

// Names beside rows can be clicked, which Vega-Lite has no word for.
function withNamesToClick(spec) {
  const labels = { interactive: true, update: { cursor: { value: "pointer" } } };
  for (const axis of spec.axes)
    if (axis.scale === "y" && axis.labels !== false) axis.encode = { labels };
  return spec;
}

const measured = data.cells.filter(({ at }) => data.datasets[at[1]].measured);
const runs = measured.flatMap((cell) => {
  const [strategy, dataset, backbone] = cell.at.map(
    (place, of) => data[["strategies", "datasets", "backbones"][of]][place],
  );
  const untrained = cell.at[2] === data.backbones.length - 1;
  return cell.runs.map(([seed, value, outside]) => ({
    at: cell.at,
    strategy: strategy.name,
    title: strategy.title,
    family: strategy.family,
    on: dataset.name,
    ranked: dataset.ranked && strategy.ranked,
    network: backbone,
    untrained,
    seed: untrained ? "–" : seed,
    value,
    said: value ?? "no finite error: counts as −1",
    outside: outside === null ? "–" : `${+(100 * outside).toPrecision(3)} %`,
  }));
});
runs.forEach((run, place) => (run.jitter = (0.618 * place) % 1)); // dots beside each other

const picked = () => ["dataset", "backbone"].map((name) => +$(`pick-${name}`).value);

function pickedRuns() {
  const [dataset, backbone] = picked();
  const family = $("pick-family").value;
  return runs.filter((run) =>
    (dataset < 0 ? run.ranked : run.at[1] === dataset) &&
    (backbone < 0 || run.at[2] === backbone || run.untrained) &&
    (!family || run.family === family));
}

// How runs are drawn: on an axis from the least to the most, but for runs that lie far below the
// other trained ones, or below −1; and from 0, where datasets stand together.
function looksOf(rows) {
  const values = (those) => those.map(({ value }) => value).filter((value) => value !== null);
  const trained = values(rows.filter((run) => !run.untrained));
  const sorted = (trained.length ? trained : values(rows)).sort((one, other) => one - other);
  const quantile = (share) => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
  const [least, low, high] = [0, 1 / 4, 3 / 4].map(quantile);
  const fence = Math.max(least, low - 1.5 * (high - low), -1);
  const left = picked()[0] < 0 ? Math.min(fence, 0) : fence;
  const right = Math.max(...values(rows), left);
  const margin = 0.02 * (right - left) || 0.01;
  return { left: left - margin, right: right + margin, size: rows.length < 1000 ? 34 : 16 };
}

const isTrained = ({ curves }) => curves.some((curve) => curve.length);

// The first of a strategy's places among what is picked that has most to show.
function placeOf(strategy) {
  const [dataset, backbone] = picked();
  const score = (cell) =>
    4 * (dataset < 0 ? data.datasets[cell.at[1]].ranked : cell.at[1] === dataset) +
    2 * (backbone < 0 || cell.at[2] === backbone) + (isTrained(cell) || cell.outputs.length > 0);
  const those = data.cells.filter((cell) => cell.at[0] === strategy);
  return those.reduce((best, cell) => (score(cell) > score(best) ? cell : best), those[0]);
}

function curvesOf(cell) {
  const row = (one, look, more) => ({
    strategy: data.strategies[one.at[0]].name,
    other: one !== cell,
    epoch: data.epochs[one.epochs][look],
    ...more,
  });
  const error = (log) => (log == null ? null : Math.exp(log / 100));
  const seeds = (one) => one.curves.flatMap((curve, place) =>
    curve.map((log, look) => row(one, look, { mse: error(log), seed: one.runs[place][0] })));
  const quantiles = (one) => {
    const [low, middle, high] = one.curves.length > 1 ? one.curves : [null, one.curves[0]];
    const ends = (look) => ({ low: error(low?.[look]), high: error(high?.[look]) });
    return middle.map((log, look) => row(one, look, { mse: error(log), ...ends(look) }));
  };
  return data.cells
    .filter((one) => isTrained(one) && one.at[1] === cell.at[1] && one.at[2] === cell.at[2])
    .flatMap(data.curves === "seeds" ? seeds : quantiles);
}

function windowOf(cell, place) {
  const { target, lower, upper, ends } = data.datasets[cell.at[1]].windows[place];
  const value = (part) => (part == null ? null : ends[0] + (part / 1000) * (ends[1] - ends[0]));
  return target.map((known, step) => ({
    step,
    target: value(known),
    lower: value(lower?.[step]),
    upper: value(upper?.[step]),
    output: value(cell.outputs[place][step]),
  }));
}

// Where the axes of curves end: errors far beyond what an output of 0 has are cut off, but the
// strategy's own.
function endsOf(rows) {
  const known = rows.filter(({ mse }) => mse !== null);
  const [own, others] = [false, true].map((other) =>
    known.filter((row) => row.other === other).map(({ mse }) => mse));
  const epochs = rows.map(({ epoch }) => epoch);
  const [start, end] = [Math.min(...epochs), Math.max(...epochs)];
  const edge = (end - start) / 50 || 1;
  const high = Math.max(...own, Math.min(4, Math.max(...others)));
  const low = Math.min(...own, ...others, high);
  return { first: start - edge, last: end + edge, low: 0.9 * low, high: 1.1 * high };
}

const drawn = {};

async function embed(id, rows, values, more = {}) {
  drawn[id]?.finalize();
  const { data: { name }, params } = charts[id];
  const set = params.map((param) => ({ ...param, value: values[param.name] ?? param.value }));
  const spec = { ...charts[id], params: set, datasets: { [name]: rows } };
  drawn[id] = await vegaEmbed(`#${id}`, spec, { ...options, ...more });
  return drawn[id].view;
}

// A chart of one strategy, or none where there is nothing to draw.
function show(id, rows, values) {
  $(id).closest("figure").hidden = !rows.length;
  if (rows.length) embed(id, rows, values);
}

async function draw() {
  const rows = pickedRuns();
  const chart = await embed("runs", rows, looksOf(rows), { patch: withNamesToClick });

  function look(cell) {
    $("one").hidden = !cell;
    if (!cell) return;
    const [strategy, dataset, backbone] = cell.at;
    const { name, title, family } = data.strategies[strategy];
    const { name: where, unit, windows } = data.datasets[dataset];
    const network = data.backbones[backbone];
    const color = colors[family];
    $("pick-strategy").value = strategy;
    $("one-strategy").textContent = title;
    $("one-place").textContent = `on ${where}` + (network === "none" ? "" : `, ${network}`);
    for (const span of document.querySelectorAll(".unit")) span.textContent = unit && ` (${unit})`;
    chart.signal("chosen", name).runAsync();
    const curves = isTrained(cell) ? curvesOf(cell) : [];
    show("curves", curves, { color, ...endsOf(curves) });
    for (const panel of [0, 1]) {
      const place = windows.length - 2 + panel; // of one alone, the last panel
      const there = cell.outputs[place] && windows[place];
      const [low, high] = there ? there.ends : [];
      show(`window-${panel}`, there ? windowOf(cell, place) : [], { color, low, high });
    }
    $("no-curves").hidden = isTrained(cell);
    $("no-windows").hidden = cell.outputs.length > 0;
  }

  const filter = () => {
    const rows = pickedRuns();
    for (const [name, value] of Object.entries(looksOf(rows))) chart.signal(name, value);
    chart.data("runs", rows).runAsync();
    $("no-dots").hidden = rows.length > 0;
    look(placeOf(+$("pick-strategy").value));
  };
  for (const name of ["dataset", "backbone", "family"])
    $(`pick-${name}`).addEventListener("change", filter);
  $("pick-strategy").addEventListener("change", (event) => look(placeOf(+event.target.value)));
  chart.addEventListener("click", (_, item) => {
    const { at, strategy, value } = item?.datum ?? {}; // of a dot, a row, a label
    const place = data.strategies.findIndex(({ name }) => name === (strategy ?? value));
    if (place >= 0) look(at ? data.cells.find((cell) => cell.at === at) : placeOf(place));
  });
  $("no-dots").hidden = rows.length > 0;
  look(placeOf(+$("pick-strategy").value));
}
draw();
