"use strict";
// Own JavaScript, since the page draws one scatter and one kind of line chart: a page of 1 200 videos has
// 0.9 MB and loads nothing, while the bundle of a library such as Plotly would add 4.5 MB.
// Names from outside reach the document through text nodes and attributes only, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const ALL_SPLITS = -1; // as in the data
const MOST_ROWS = 2000; // of a table
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const $ = (id) => document.getElementById(id);

// --- elements and numbers

const builder = (namespace) => (tag, attributes = {}, ...children) => {
  const node = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const html = builder(document.documentElement.namespaceURI);
const draw = builder("http://www.w3.org/2000/svg");

function fixed(value, digits, plus = "") {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value).toFixed(digits);
  const sign = Number(size) === 0 ? "" : value < 0 ? "−" : plus;
  return sign + size;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// the difference of a score and a label as both are shown
function errorOf(score, { mos, digits }) {
  return Number(score.toFixed(digits)) - Number(mos.toFixed(digits));
}

// --- data: columns become rows, which refer to each other

function rowsOf(columns) {
  const names = Object.keys(columns);
  const rowAt = (row) => Object.fromEntries(names.map((name) => [name, columns[name][row]]));
  return columns[names[0]].map((_, row) => rowAt(row));
}

for (const run of data.runs) {
  const { reasons, video: reasonOf } = run.no_frames;
  run.videos = rowsOf(run.videos).map((video, place) => {
    const [low, high] = run.datasets.find(({ name }) => name === video.dataset).range;
    const digits = high - low > 50 ? 1 : high - low > 10 ? 2 : 3;
    return { ...video, digits, scores: [], noCurve: reasons[reasonOf[place]] };
  });
  run.scores = rowsOf(run.scores);
  for (const row of run.scores) {
    Object.assign(row, { part: data.parts[row.part], video: run.videos[row.video] });
    row.video.scores.push(row);
  }
  for (const curve of run.frames) run.videos[curve.video].curve = curve;
}

const currentRun = () => data.runs[$("run").value];
const currentSplit = () => Number($("split").value);

function sameVideo(run, { name, dataset }) {
  return run.videos.find((video) => video.name === name && video.dataset === dataset);
}

// --- tables: columns with the class `words` hold texts, others numbers; `aria-sort` marks the sorted one

const collator = new Intl.Collator("en", { numeric: true });

// the value of a cell that came with the page
function valueOf({ dataset: { value }, textContent }) {
  return value === undefined ? textContent.trim() : value === "" ? NaN : Number(value);
}

// missing numbers come last, rising and falling
function compare(one, two, turn) {
  if (Number.isNaN(one) || Number.isNaN(two)) return Number.isNaN(one) - Number.isNaN(two);
  return turn * (typeof one === "number" ? one - two : collator.compare(one, two));
}

// Makes the titles of a table sort it, and returns what fills it with other rows { values, digits, video }. A
// row's line is made when it is first shown; `after` is called when the lines have changed.
function sortable(table, after = () => {}) {
  const headers = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  let rows = [...body.rows].map((line) => ({ values: [...line.cells].map(valueOf), line }));
  const show = () => {
    const column = headers.findIndex((header) => header.ariaSort), sorted = [...rows];
    const turn = headers[column]?.ariaSort === "descending" ? -1 : 1;
    if (column >= 0) sorted.sort((one, two) => compare(one.values[column], two.values[column], turn));
    body.replaceChildren(...sorted.slice(0, MOST_ROWS).map((row) => row.line ??= lineOf(headers, row)));
    after();
  };
  for (const header of headers) {
    const title = html("button", { type: "button" }, header.textContent);
    title.addEventListener("click", () => {
      const rises = header.ariaSort ? header.ariaSort === "descending" : header.classList.contains("words");
      for (const other of headers) other.ariaSort = null;
      header.ariaSort = rises ? "ascending" : "descending";
      show();
    });
    header.scope = "col";
    header.replaceChildren(title);
  }
  show();
  return (others) => {
    rows = others;
    show();
  };
}

// a line of a table, which knows its row; the first cell of a video's is a button
function lineOf(headers, row) {
  const cells = row.values.map((value, column) => {
    const { className, dataset } = headers[column];
    const text = typeof value === "number" ? fixed(value, row.digits, dataset.plus) : value;
    const isButton = row.video && column === 0;
    return html("td", { class: className }, isButton ? html("button", { type: "button" }, text) : text);
  });
  return Object.assign(html("tr", {}, ...cells), { video: row.video });
}

// the place that a key leads to in a list, undefined for other keys; `up` is the step of the key upwards
function walk(event, now, count, up) {
  const steps = {
    ArrowRight: 1, ArrowLeft: -1, ArrowUp: up, ArrowDown: -up, PageUp: 15 * up, PageDown: -15 * up,
    Home: -Infinity, End: Infinity,
  };
  if (!(event.key in steps) || !count) return undefined;
  event.preventDefault();
  return Math.min(count - 1, Math.max(0, now + steps[event.key]));
}

// --- plots

const EDGE = { left: 52, right: 13, top: 10, bottom: 38 };

function extent(values, padding = 0) {
  let low = Infinity, high = -Infinity;
  for (const value of values.filter(Number.isFinite)) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const more = low < high ? padding * (high - low) : 0.5;
  return [low - more, high + more];
}

// about `count` round numbers with their texts, at least `least` apart
function ticks([low, high], count, least) {
  const raw = Math.max(least, (high - low) / count), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw * 0.999);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, place) => (first + place) * step)
    .map((value) => [value, fixed(value, digits)]);
}

const scale = ([low, high], start, end) => (value) => start + ((value - low) / (high - low)) * (end - start);
const at = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`;

// an SVG with axes, and its scales from values to places in it
function axes(width, height, xs, ys, xTitle, yTitle = "", leastStep = 0) {
  const right = width - EDGE.right, bottom = height - EDGE.bottom;
  const x = scale(xs, EDGE.left, right), y = scale(ys, bottom, EDGE.top);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}` });
  const line = (d) => draw("path", { class: "axis", d });
  const text = (kind, attributes, content) => draw("text", { class: kind, ...attributes }, content);
  for (const [value, label] of ticks(xs, width / 80, leastStep)) {
    svg.append(line(`M${x(value)} ${EDGE.top}V${bottom}`));
    svg.append(text("middle", { x: x(value), y: bottom + 16 }, label));
  }
  for (const [value, label] of ticks(ys, height / 45, 0)) {
    svg.append(line(`M${EDGE.left} ${y(value)}H${right}`));
    svg.append(text("end", { x: EDGE.left - 7, y: y(value) + 4 }, label));
  }
  const sideways = `translate(12 ${(EDGE.top + bottom) / 2}) rotate(-90)`;
  svg.append(text("title middle", { x: (EDGE.left + right) / 2, y: height - 4 }, xTitle));
  svg.append(text("title middle", { transform: sideways }, yTitle));
  return { svg, x, y };
}

// the line through points of an SVG; it breaks where a value is missing
function pathOf(xs, ys, { x, y }) {
  return ys.map((value, place) => {
    const command = Number.isFinite(ys[place - 1]) ? "L" : "M";
    return Number.isFinite(value) ? command + at(x(xs[place]), y(value)) : "";
  }).join("");
}

// a chart of series { x, y, strong, mark: [x, y] } and of level lines { value, kind }
function chart(label, xTitle, series, levels = []) {
  const xs = extent(series.flatMap((one) => one.x));
  const ys = extent([...series.flatMap((one) => one.y), ...levels.map((level) => level.value)], 0.08);
  const plot = axes(520, 200, xs, ys, xTitle, "", xTitle === "seconds" ? 0 : 1), { svg, x, y } = plot;
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  for (const { value, kind } of levels) {
    svg.append(draw("path", { class: `level ${kind}`, d: `M${x(xs[0])} ${y(value)}H${x(xs[1])}` }));
  }
  for (const one of series.sort((a, b) => a.strong - b.strong)) { // strong ones above the others
    const d = pathOf(one.x, one.y, plot);
    svg.append(draw("path", { class: one.strong ? "series strong" : "series", d }));
    if (Number.isFinite(one.mark?.[1])) {
      svg.append(draw("circle", { class: "kept", cx: x(one.mark[0]), cy: y(one.mark[1]), r: 3.5 }));
    }
  }
  return svg;
}

// --- scatter

const scatter = $("scatter"), tip = $("tip");
const REACH = 12; // pixels from the pointer to a point
const SHAPES = {
  train: (x, y, size) => `M${at(x - size, y - size)}L${at(x + size, y + size)}`
    + `M${at(x + size, y - size)}L${at(x - size, y + size)}`,
  validation: (x, y, size) => `M${at(x - size, y - size)}h${2 * size}v${2 * size}h${-2 * size}z`,
  test: (x, y) => `M${at(x, y)}h0`, // a dot: the round cap of a line
};
let selected = []; // the scores that the filters leave
let points = []; // these from left to right: { row, x, y }
let hovered = -1; // place among the points
let chosen = null; // a video

function drawScatter() {
  const { clientWidth: width, clientHeight: height } = scatter, run = currentRun(), part = $("part").value;
  const { name, score } = run.datasets.find((dataset) => dataset.name === $("dataset").value);
  // axes follow run, data set and part alone, so that points stay in place during a search
  const all = run.scores.filter((row) => row.video.dataset === name && ["all", row.part].includes(part));
  const xs = extent(all.map((row) => row.score), 0.04), ys = extent(all.map((row) => row.video.mos), 0.04);
  const plot = axes(width, height, xs, ys, "calibrated score", `${score} of ${name}`), { svg, x, y } = plot;
  points = selected.map((row) => ({ row, x: x(row.score), y: y(row.video.mos) }));
  points.sort((one, two) => one.x - two.x || one.y - two.y);

  const crowd = points.length > 3000 ? "crowd" : points.length > 600 ? "many" : "few";
  const size = { crowd: 2, many: 2.6, few: 3.4 }[crowd];
  const groups = Map.groupBy(points, ({ row }) => `${row.part} ${row.split}`); // of one, points do not add up
  for (const kind of data.parts) {
    for (const group of [...groups.values()].filter(([{ row }]) => row.part === kind)) {
      const d = group.map((point) => SHAPES[kind](point.x, point.y, size)).join("");
      svg.append(draw("path", { class: `points ${kind} ${crowd}`, d }));
    }
  }
  const steps = Array.from({ length: 201 }, (_, step) => xs[0] + (step / 200) * (xs[1] - xs[0]));
  const line = (kind, labelOf) => {
    const labels = steps.map(labelOf).map((label) => (label >= ys[0] && label <= ys[1] ? label : NaN));
    const d = pathOf(steps, labels, plot);
    svg.append(draw("path", { class: "line rim", d }), draw("path", { class: `line ${kind}`, d }));
  };
  const { tau: [top, bottom, middle, slope] } = fitted();
  line("equal", (value) => value);
  if (slope) line("fit", (value) => (top - bottom) / (1 + Math.exp(-(value - middle) / slope)) + bottom);
  scatter.querySelector("svg")?.remove();
  scatter.prepend(svg);
  hover(-1);
}

function fitted() {
  const dataset = $("dataset").value;
  return currentRun().fitted.find((curve) => curve.dataset === dataset && curve.split === currentSplit());
}

function drawRings() {
  const ring = (point, kind) => draw("circle", { class: `ring ${kind}`, cx: point.x, cy: point.y, r: 6.5 });
  for (const old of scatter.querySelectorAll(".ring")) old.remove();
  const rings = points.filter(({ row }) => row.video === chosen).map((point) => ring(point, "chosen"));
  if (hovered >= 0) rings.push(ring(points[hovered], "hovered"));
  scatter.querySelector("svg").append(...rings);
}

function describe({ split, part, score, video }) {
  const { name, content, mos, digits } = video, error = fixed(errorOf(score, video), digits, "+");
  const numbers = `score ${fixed(score, digits)}   label ${fixed(mos, digits)}   error ${error}`;
  const lines = [name, `${part} part of split ${split}`, numbers];
  return content && content !== name ? [...lines, `content ${content}`] : lines;
}

function hover(place) {
  hovered = place;
  drawRings();
  tip.hidden = place < 0;
  if (place < 0) return;
  const { row, x, y } = points[place];
  tip.replaceChildren(...describe(row).map((text) => html("div", {}, text)));
  const { width, height } = tip.getBoundingClientRect();
  const isRight = x + 14 + width <= scatter.clientWidth;
  tip.style.left = `${Math.max(0, isRight ? x + 14 : x - 14 - width)}px`;
  tip.style.top = `${Math.max(0, Math.min(y - height / 2, scatter.clientHeight - height))}px`;
}

function hoverNearest(event) {
  const box = scatter.getBoundingClientRect();
  let best = -1, least = REACH;
  points.forEach(({ x, y }, place) => {
    const distance = Math.hypot(x + box.left - event.clientX, y + box.top - event.clientY);
    if (distance < least) [best, least] = [place, distance];
  });
  if (best !== hovered) hover(best);
}

function openHovered() {
  if (hovered >= 0) openVideo(points[hovered].row.video);
}

function walkPoints(event) {
  const next = walk(event, hovered, points.length, 1);
  if (next !== undefined) {
    hover(next);
    $("scatter-said").textContent = describe(points[next].row).join(", ");
  } else if (event.key === "Escape") {
    hover(-1);
  } else if (hovered >= 0 && ["Enter", " "].includes(event.key)) {
    event.preventDefault();
    openHovered();
  }
}

function showLegend() {
  const { tau, note } = fitted(), { calibrated_on: parts } = currentRun(), split = currentSplit();
  for (const part of data.parts) {
    $("legend").querySelector(`.${part}`).hidden = !selected.some((row) => row.part === part);
  }
  $("legend").querySelector(".fit").hidden = !tau.length;
  $("calibrated-on").textContent = parts.map((part) => (part === "train" ? "training" : part)).join(" or ");
  const all = split === ALL_SPLITS, on = all ? "parts of all splits together" : `part of split ${split}`;
  $("fit-note").textContent = tau.length
    ? `The logistic is fitted to the scores of the test ${on}.${note && ` Note: ${note}.`}`
    : `No logistic is fitted to the test ${on}: ${note}.`;
}

// --- videos

const videosTable = $("videos-table");
const videoLines = () => [...videosTable.tBodies[0].rows];
const fillVideos = sortable(videosTable, markChosen);
const fillChosen = sortable($("chosen-table"));

function showVideos() {
  const videos = [...Map.groupBy(selected, (row) => row.video)].map(([video, rows]) => {
    const score = mean(rows.map((row) => row.score)), counts = Map.groupBy(rows, (row) => row.part);
    const parts = data.parts.filter((part) => counts.has(part)).reverse().map((part) => {
      const times = counts.get(part).length;
      return times > 1 ? `${part} ×${times}` : part;
    });
    return { video, score, error: errorOf(score, video), parts: parts.join(", ") };
  });
  // decides among errors that are equal as shown
  const size = ({ score, video }) => Math.abs(score - video.mos);
  videos.sort((one, two) => size(two) - size(one));
  fillVideos(videos.map(({ video, score, error, parts }) => {
    const { name, content, mos, digits } = video, file = addressOf(video) ? "plays" : "–";
    return { video, digits, values: [name, content, parts, mos, score, error, Math.abs(error), file] };
  }));
  $("count").textContent = `${videos.length} videos, ${selected.length} scores`;
  $("videos-note").textContent = videos.length > MOST_ROWS
    ? `The first ${MOST_ROWS} of ${videos.length}; filter or sort to see the others.` : "";
  if (!videos.some(({ video }) => video === chosen)) chosen = videoLines()[0]?.video;
}

// the table is one stop of the tabulator, at the chosen video
function markChosen() {
  const lines = videoLines(), stop = lines.find(({ video }) => video === chosen) || lines[0];
  for (const line of lines) {
    line.ariaCurrent = line.video === chosen;
    line.querySelector("button").tabIndex = line === stop ? 0 : -1;
  }
}

function walkVideos(event) {
  const lines = videoLines(), place = lines.indexOf(event.target.closest("tbody tr"));
  const next = place < 0 ? undefined : walk(event, place, lines.length, -1);
  if (next !== undefined) lines[next].querySelector("button").focus();
}

// --- the chosen video

const player = $("player"), seek = $("seek");
const opened = new Map(); // name of a file that the reader opened → its blob address
const addressOf = ({ name, address }) => opened.get(name.split("/").pop()) || address;
const play = () => player.play().catch(() => {}); // a browser may refuse; the controls are there

function openVideo(video) {
  chosen = video;
  showChosen();
  drawRings();
  markChosen();
  if (!player.hidden && !calm.matches) play();
  const { top, bottom } = $("chosen").getBoundingClientRect();
  if (bottom < 80 || top > innerHeight - 80) $("chosen").scrollIntoView();
}

function showChosen() {
  $("chosen-title").textContent = chosen ? chosen.name : "None: the filters leave no video.";
  $("chosen-body").hidden = !chosen;
  if (!chosen) {
    player.pause();
    return;
  }
  showPlayer();
  showFrames();
  const { content, dataset, mos, digits, scores } = chosen;
  const tested = (video) => video.scores.filter((row) => row.part === "test").map((row) => row.score);
  const facts = [["label", fixed(mos, digits)]], own = tested(chosen);
  if (own.length) {
    const score = fixed(mean(own), digits), error = fixed(errorOf(mean(own), chosen), digits, "+");
    const splits = `${own.length} split${own.length > 1 ? "s" : ""}`;
    facts.push(["score in testing", `${score}, the mean over ${splits}`]);
    facts.push(["error in testing", `${error}, score minus label`]);
  }
  facts.push(["content", content], ["data set", dataset]);
  for (const run of data.runs.filter((other) => other !== currentRun())) {
    const same = sameVideo(run, chosen), others = same ? tested(same) : [];
    if (others.length) facts.push([`score of ${run.name}`, fixed(mean(others), digits)]);
  }
  const terms = facts.flatMap(([name, value]) => [html("dt", {}, name), html("dd", {}, value)]);
  $("chosen-facts").replaceChildren(...terms);
  const rows = data.parts.toReversed().flatMap((part) => scores.filter((row) => row.part === part));
  fillChosen(rows.map(({ split, part, output, score }) => (
    { digits, values: [String(split), part, output, score, errorOf(score, chosen)] })));
}

function showPlayer() {
  const address = addressOf(chosen);
  player.hidden = !address;
  player.ariaLabel = `Video ${chosen.name}`;
  $("player-missing").hidden = Boolean(address);
  if (player.getAttribute("src") === address) return;
  $("player-error").hidden = true;
  player.src = address;
}

// the slider for seeking is on top of the chart, its handle is a line
function showFrames() {
  const { curve, noCurve, mos, digits } = chosen;
  $("frames").querySelector("svg")?.remove();
  $("frames-help").textContent = noCurve;
  seek.hidden = player.hidden || !curve?.seconds.length;
  if (!curve) return;
  const timed = curve.seconds.length > 0, middle = mean(curve.scores);
  const times = timed ? curve.seconds : curve.scores.map((_, place) => place);
  const levels = [{ value: middle, kind: "score" }, { value: mos, kind: "label" }];
  const series = [{ x: times, y: curve.scores, strong: true }];
  $("frames").prepend(chart("Calibrated score of each frame", timed ? "seconds" : "row", series, levels));
  const splits = curve.splits.length > 1 ? `${curve.splits.length} splits` : "split";
  const help = [
    `Solid: calibrated scores of the frames, the mean over the ${splits} that tested it.`,
    `Dashed: their mean, ${fixed(middle, digits)}. Dotted: label, ${fixed(mos, digits)}.`,
    seek.hidden ? "" : "Click the curve, or use its arrow keys, to go there in the video.",
  ];
  $("frames-help").textContent = help.join(" ");
  [seek.min, seek.max] = extent(times);
  follow();
}

function follow() {
  if (seek.hidden) return;
  seek.value = player.currentTime;
  const second = Number(seek.value), { curve: { seconds, scores }, digits } = chosen;
  const frame = Math.max(0, seconds.findLastIndex((one) => one <= second + 1e-6));
  seek.ariaValueText = `${fixed(second, 2)} seconds, score ${fixed(scores[frame], digits)}`;
}

function followWhilePlaying() {
  follow();
  if (!player.paused && !calm.matches) requestAnimationFrame(followWhilePlaying);
}

// --- training

function showTraining() {
  const { training } = currentRun(), names = new Set(training.flatMap((curve) => Object.keys(curve.series)));
  $("training-charts").replaceChildren(...[...names].map((name) => {
    const series = training.filter((curve) => name in curve.series).map((curve) => {
      const { split, epoch, kept_epoch: kept } = curve, y = curve.series[name];
      return { x: epoch, y, strong: split === currentSplit(), mark: [kept, y[epoch.indexOf(kept)]] };
    });
    const title = name.replaceAll("_", " ").replace("srocc", "SROCC");
    const label = `${title}, ${series.length} splits over the epochs`;
    return html("div", {}, html("h3", {}, title), chart(label, "epoch", series));
  }));
  $("training-note").hidden = !names.size;
  $("training-missing").hidden = names.size > 0;
}

// --- filters

// keeps the selected option where it is among the new ones
function fillSelect(select, options) {
  const before = select.value;
  select.replaceChildren(...options);
  if (options.some((option) => option.value === before)) select.value = before;
  select.disabled = options.length < 2;
}

function startRun() {
  const run = currentRun(), contents = [...new Set(run.videos.map((video) => video.content))];
  fillSelect($("dataset"), run.datasets.map(({ name }) => new Option(name)));
  const splits = Array.from({ length: run.splits }, (_, split) => new Option(split));
  fillSelect($("split"), [new Option("all", ALL_SPLITS), ...splits]);
  contents.sort(collator.compare);
  $("contents").replaceChildren(...contents.slice(0, MOST_ROWS).map((content) => new Option(content)));
  for (const node of document.querySelectorAll(".of-run")) node.textContent = `of ${run.name}`;
  document.querySelectorAll("#provenance .groups").forEach((groups, place) => {
    groups.hidden = data.runs[place] !== run;
  });
  chosen = chosen && sameVideo(run, chosen);
  show();
}

function show() {
  const split = currentSplit(), part = $("part").value, dataset = $("dataset").value;
  const [content, text] = [$("content"), $("text")].map((box) => box.value.trim().toLowerCase());
  const searched = new Set(currentRun().videos.filter((video) => (
    video.dataset === dataset && video.content.toLowerCase().includes(content)
    && video.name.toLowerCase().includes(text))));
  selected = currentRun().scores.filter((row) => (
    searched.has(row.video) && [ALL_SPLITS, row.split].includes(split) && ["all", row.part].includes(part)));
  showVideos();
  markChosen();
  drawScatter();
  showLegend();
  showChosen();
  showTraining();
}

// --- light and dark

const THEMES = ["auto", "light", "dark"], root = document.documentElement;
let storage = {};
try { storage = localStorage; } catch { /* a browser may refuse it to a file */ }

function setTheme(theme) {
  root.dataset.theme = storage["vqafeat-theme"] = theme;
  $("theme").textContent = `Theme: ${theme}`;
}

setTheme(THEMES.includes(storage["vqafeat-theme"]) ? storage["vqafeat-theme"] : "auto");
$("theme").addEventListener("click", () => {
  setTheme(THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length]);
});

// --- what happens when

function openFiles() {
  for (const file of $("files").files) {
    URL.revokeObjectURL(opened.get(file.name));
    opened.set(file.name, URL.createObjectURL(file));
  }
  show();
}

document.addEventListener("click", (event) => { // a run's button in a table
  const button = event.target.closest("[data-run]");
  if (!button) return;
  $("run").value = button.dataset.run;
  startRun();
  if (button.closest("#tables")) $("scores").scrollIntoView();
});

$("filters").addEventListener("input", (event) => (event.target.id === "run" ? startRun : show)());
$("reset").addEventListener("click", () => {
  $("content").value = $("text").value = "";
  $("split").value = ALL_SPLITS;
  $("part").value = "test";
  show();
});

scatter.addEventListener("pointermove", hoverNearest);
scatter.addEventListener("pointerleave", () => hover(-1));
scatter.addEventListener("blur", () => hover(-1));
scatter.addEventListener("click", (event) => {
  hoverNearest(event);
  openHovered();
});
scatter.addEventListener("keydown", walkPoints);

videosTable.addEventListener("click", (event) => {
  const line = event.target.closest("tbody tr");
  if (line) openVideo(line.video);
});
videosTable.addEventListener("keydown", walkVideos);

$("files").addEventListener("change", openFiles);
player.addEventListener("error", () => { $("player-error").hidden = player.hidden; });
player.addEventListener("play", followWhilePlaying);
for (const name of ["timeupdate", "seeking", "loadedmetadata"]) player.addEventListener(name, follow);
seek.addEventListener("input", () => { player.currentTime = seek.value; });
seek.addEventListener("keydown", (event) => {
  if (event.key !== " ") return;
  event.preventDefault();
  if (player.paused) play();
  else player.pause();
});

for (const table of document.querySelectorAll("#tables table, #metrics table")) sortable(table);
if (data.runs.length) {
  startRun();
  new ResizeObserver(drawScatter).observe(scatter);
}
