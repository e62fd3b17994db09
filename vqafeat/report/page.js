"use strict";
// Own JavaScript, since a page of 1 200 videos then has about 1 MB and loads nothing, while the bundle of a
// library such as Plotly would add 4.5 MB. Axes and lines come with the page; the script draws the points.
// Names from outside reach the document through text nodes and attributes only, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
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
  const size = Math.abs(value).toFixed(digits);
  const sign = Number(size) === 0 ? "" : value < 0 ? "−" : plus;
  return sign + size;
}

const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
// the difference of a score and a label as both are shown
const errorOf = (score, { mos, digits }) => Number(score.toFixed(digits)) - Number(mos.toFixed(digits));

// --- data: columns become rows, which refer to each other

function rowsOf(columns) {
  const names = Object.keys(columns);
  const rowAt = (row) => Object.fromEntries(names.map((name) => [name, columns[name][row]]));
  return columns[names[0]].map((_, row) => rowAt(row));
}

for (const [number, run] of data.runs.entries()) {
  run.videos = rowsOf(run.videos).map((video, place) => (
    { ...video, scores: [], curve: run.frames[place], key: `${number}:${place}` }));
  run.scores = rowsOf(run.scores);
  for (const row of run.scores) {
    Object.assign(row, { part: data.parts[row.part], video: run.videos[row.video] });
    row.video.scores.push(row);
  }
}

const currentRun = () => data.runs[$("run").value];
const sameVideo = (run, { name, dataset }) => (
  run.videos.find((video) => video.name === name && video.dataset === dataset));

// --- tables: columns with the class `words` hold texts, others numbers; `aria-sort` marks the sorted one

const collator = new Intl.Collator("en", { numeric: true });
const tableRows = new Map(); // table → its rows, { values, line } or { values, digits, video }

// the value of a cell that came with the page
function valueOf({ dataset: { value }, textContent }) {
  return value === undefined ? textContent.trim() : value === "" ? NaN : Number(value);
}

// missing numbers come last, rising and falling
function compare(one, two, turn) {
  if (Number.isNaN(one) || Number.isNaN(two)) return Number.isNaN(one) - Number.isNaN(two);
  return turn * (typeof one === "number" ? one - two : collator.compare(one, two));
}

function fillTable(table, rows) {
  const headers = [...table.tHead.rows[0].cells], column = headers.findIndex((header) => header.ariaSort);
  const turn = headers[column]?.ariaSort === "descending" ? -1 : 1;
  const sorted = column < 0 ? rows
    : rows.toSorted((one, two) => compare(one.values[column], two.values[column], turn));
  const lines = sorted.slice(0, MOST_ROWS).map((row) => row.line ?? lineOf(headers, row));
  table.tBodies[0].replaceChildren(...lines);
  tableRows.set(table, rows);
}

// a line of a table; a video's knows its video, and has a button in its first cell
function lineOf(headers, { values, digits, video }) {
  const cells = values.map((value, column) => {
    const { className, classList } = headers[column];
    const plus = classList.contains("signed") ? "+" : "";
    const text = typeof value === "number" ? fixed(value, digits, plus) : value;
    const isButton = video && column === 0;
    return html("td", { class: className }, isButton ? html("button", { type: "button" }, text) : text);
  });
  return Object.assign(html("tr", {}, ...cells), { video });
}

function sortBy(header) {
  const table = header.closest("table");
  const rises = header.ariaSort ? header.ariaSort === "descending" : header.classList.contains("words");
  for (const other of header.parentNode.cells) other.ariaSort = null;
  header.ariaSort = rises ? "ascending" : "descending";
  fillTable(table, tableRows.get(table));
  markChosen();
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

// --- scatter

const scatter = $("scatter"), tip = $("tip");
const { width: WIDTH, height: HEIGHT } = scatter.querySelector("svg").viewBox.baseVal;
const REACH = 12; // pixels from the pointer to a point
const MARKS = { // drawn from the middle of a point
  train: (size) => `m${-size} ${-size}l${2 * size} ${2 * size}m0 ${-2 * size}l${-2 * size} ${2 * size}`,
  validation: (size) => `m${-size} ${-size}h${2 * size}v${2 * size}h${-2 * size}z`,
  test: () => "h0", // a dot: the round cap of a line
};
let selected = []; // the scores that the filters leave
let points = []; // these from left to right: { row, x, y }
let hovered = -1; // place among the points
let chosen; // a video

const position = (value, { low, high, start, end }) => start + ((value - low) / (high - low)) * (end - start);

function drawPoints() {
  const { x, y } = currentRun().datasets.find(({ name }) => name === $("dataset").value);
  points = selected.map((row) => ({ row, x: position(row.score, x), y: position(row.video.mos, y) }));
  points.sort((one, two) => one.x - two.x || one.y - two.y);
  const [crowd, size] = points.length > 600 ? ["crowd", 2.3] : ["few", 3.4];
  const groups = Map.groupBy(points, ({ row }) => `${row.part} ${row.split}`); // of one, points do not add up
  const paths = data.parts.flatMap((part) => {
    const mark = MARKS[part](size), own = [...groups.values()].filter(([{ row }]) => row.part === part);
    const lines = own.map((group) => group.map((at) => `M${at.x.toFixed(1)} ${at.y.toFixed(1)}${mark}`));
    return lines.map((line) => draw("path", { class: `points ${part} ${crowd}`, d: line.join("") }));
  });
  $("points").replaceChildren(...paths);
  hover(-1);
}

function drawRings() {
  const ring = (point, kind) => draw("circle", { class: `ring ${kind}`, cx: point.x, cy: point.y, r: 6.5 });
  const rings = points.filter(({ row }) => row.video === chosen).map((point) => ring(point, "chosen"));
  if (hovered >= 0) rings.push(ring(points[hovered], "hovered"));
  $("rings").replaceChildren(...rings);
}

function describe({ split, part, score, video }) {
  const { name, content, mos, digits } = video, error = fixed(errorOf(score, video), digits, "+");
  const numbers = `score ${fixed(score, digits)}   label ${fixed(mos, digits)}   error ${error}`;
  const lines = [name, `${part} part of split ${split}`, numbers];
  return content && content !== name ? [...lines, `content ${content}`] : lines;
}

function hover(next) {
  hovered = next;
  drawRings();
  tip.hidden = next < 0;
  if (next < 0) return;
  const { row, x, y } = points[next], left = (100 * x) / WIDTH, top = (100 * y) / HEIGHT;
  tip.replaceChildren(...describe(row).map((text) => html("div", {}, text)));
  tip.style.inset = left < 60 ? `${top}% auto auto ${left}%` : `${top}% ${100 - left}% auto auto`;
  tip.style.translate = left < 60 ? "14px -50%" : "-14px -50%";
}

function hoverNearest(event) {
  const box = scatter.getBoundingClientRect(), zoom = box.width / WIDTH;
  let best = -1, least = REACH;
  points.forEach(({ x, y }, number) => {
    const distance = Math.hypot(zoom * x + box.left - event.clientX, zoom * y + box.top - event.clientY);
    if (distance < least) [best, least] = [number, distance];
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

// --- videos

const videosTable = $("videos-table");
const videoLines = () => [...videosTable.tBodies[0].rows];

function showVideos() {
  const rows = [...Map.groupBy(selected, (row) => row.video)].map(([video, own]) => {
    const { name, content, mos, digits } = video, score = mean(own.map((row) => row.score));
    const error = errorOf(score, video), file = addressOf(video) ? "plays" : "–";
    const values = [name, content, partsOf(own), mos, score, error, Math.abs(error), file];
    return { video, digits, values, size: Math.abs(score - mos) };
  });
  rows.sort((one, two) => two.size - one.size); // which decides among errors that are equal as shown
  fillTable(videosTable, rows);
  $("count").textContent = `${counted(rows.length, "video")}, ${counted(selected.length, "score")}`;
  $("videos-note").hidden = rows.length <= MOST_ROWS;
  if (!rows.some(({ video }) => video === chosen)) chosen = videoLines()[0]?.video;
}

// the parts of a video's scores as "test ×2, train"
function partsOf(scores) {
  const counts = Map.groupBy(scores, (row) => row.part);
  return [...counts].map(([part, { length }]) => (length > 1 ? `${part} ×${length}` : part)).sort().join(", ");
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
  const lines = videoLines(), now = lines.indexOf(event.target.closest("tbody tr"));
  const next = now < 0 ? undefined : walk(event, now, lines.length, -1);
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
  if (!player.hidden && !calm.matches) play();
  $("chosen-title").scrollIntoView({ block: "nearest" });
}

function showChosen() {
  showParts();
  drawRings();
  markChosen();
  $("chosen-title").textContent = chosen ? chosen.name : "None: the filters leave no video.";
  $("chosen-body").hidden = !chosen;
  if (!chosen) return player.pause();
  showPlayer();
  const terms = factsOf(chosen).flatMap(([name, value]) => [html("dt", {}, name), html("dd", {}, value)]);
  $("chosen-facts").replaceChildren(...terms);
  const { digits, scores } = chosen;
  const rows = data.parts.toReversed().flatMap((part) => scores.filter((row) => row.part === part));
  fillTable($("chosen-table"), rows.map(({ split, part, output, score }) => (
    { digits, values: [String(split), part, output, score, errorOf(score, chosen)] })));
}

function factsOf(video) {
  const { content, dataset, mos, digits, scores } = video;
  const tested = (rows) => rows.filter((row) => row.part === "test").map((row) => row.score);
  const facts = [["content", content], ["data set", dataset], ["label", fixed(mos, digits)]];
  const own = tested(scores);
  if (own.length) {
    const score = fixed(mean(own), digits), error = fixed(errorOf(mean(own), video), digits, "+");
    facts.push(["score in testing", `${score}, the mean over ${counted(own.length, "split")}`]);
    facts.push(["error in testing", `${error}, score minus label`]);
  }
  for (const run of data.runs.filter((other) => other !== currentRun())) {
    const others = tested(sameVideo(run, video)?.scores ?? []);
    if (others.length) facts.push([`score of ${run.name}`, fixed(mean(others), digits)]);
  }
  return facts;
}

// the slider for seeking is on top of the chart of the frames' scores, its handle is a line
function showPlayer() {
  const address = addressOf(chosen), { curve } = chosen;
  player.hidden = !address;
  player.ariaLabel = `Video ${chosen.name}`;
  if (player.getAttribute("src") !== address) {
    $("player-error").hidden = true;
    player.src = address;
  }
  seek.hidden = player.hidden || !curve?.seconds.length;
  const hint = seek.hidden ? "" : " Click the curve, or use its arrow keys, to go there in the video.";
  $("frames-help").textContent = chosen.frames_help + hint;
  if (seek.hidden) return;
  [seek.min, seek.max] = [curve.seconds[0], curve.seconds.at(-1)];
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

// --- filters

// shows what came with the page for this run, data set, split and video, and for the parts that have points
function showParts() {
  const run = $("run").value, dataset = `${run}/${$("dataset").value}`, split = $("split").value;
  const parts = selected.map((row) => row.part);
  const shown = new Set([run, dataset, `${dataset}/${split}`, chosen?.key, ...parts]);
  for (const node of document.querySelectorAll("[data-of]")) {
    node.toggleAttribute("hidden", !shown.has(node.dataset.of));
  }
  for (const line of document.querySelectorAll(".series[data-split]")) {
    line.classList.toggle("strong", line.dataset.split === split);
  }
}

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
  fillSelect($("split"), [new Option("all", data.all_splits), ...splits]);
  contents.sort(collator.compare);
  $("contents").replaceChildren(...contents.slice(0, MOST_ROWS).map((content) => new Option(content)));
  for (const node of document.querySelectorAll(".of-run")) node.textContent = `of ${run.name}`;
  chosen &&= sameVideo(run, chosen);
  show();
}

function show() {
  const split = Number($("split").value), part = $("part").value, dataset = $("dataset").value;
  const [content, text] = [$("content"), $("text")].map((box) => box.value.trim().toLowerCase());
  selected = currentRun().scores.filter((row) => (
    row.video.dataset === dataset && [data.all_splits, row.split].includes(split)
    && ["all", row.part].includes(part) && row.video.content.toLowerCase().includes(content)
    && row.video.name.toLowerCase().includes(text)));
  showVideos();
  drawPoints();
  showChosen();
}

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

document.addEventListener("click", ({ target }) => { // a title of a column, a run or a video in a table
  const header = target.closest("th"), button = target.closest("[data-run]");
  const { video } = target.closest("tr") ?? {};
  if (header) sortBy(header);
  if (video) openVideo(video);
  if (!button) return;
  $("run").value = button.dataset.run;
  startRun();
  if (button.closest("#tables, #comparison")) $("scores").scrollIntoView();
});

$("filters").addEventListener("input", (event) => (event.target.id === "run" ? startRun : show)());
$("narrowing").addEventListener("reset", () => setTimeout(show)); // after the fields have their values

scatter.addEventListener("pointermove", hoverNearest);
for (const name of ["pointerleave", "blur"]) scatter.addEventListener(name, () => hover(-1));
scatter.addEventListener("click", (event) => {
  hoverNearest(event);
  openHovered();
});
scatter.addEventListener("keydown", walkPoints);
videosTable.addEventListener("keydown", walkVideos);

$("files").addEventListener("change", ({ target }) => {
  for (const file of target.files) {
    URL.revokeObjectURL(opened.get(file.name));
    opened.set(file.name, URL.createObjectURL(file));
  }
  show();
});
player.addEventListener("error", () => { $("player-error").hidden = player.hidden; });
player.addEventListener("play", followWhilePlaying);
for (const name of ["timeupdate", "seeking", "loadedmetadata"]) player.addEventListener(name, follow);
seek.addEventListener("input", () => { player.currentTime = seek.value; });

for (const table of document.querySelectorAll("#tables table, #comparison table, #metrics table")) {
  const lines = [...table.tBodies[0].rows];
  fillTable(table, lines.map((line) => ({ line, values: [...line.cells].map(valueOf) })));
}
if (data.runs.length) startRun();
