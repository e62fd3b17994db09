"use strict";
// The page of a report. Names from outside reach the document through textContent and attributes only, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const MEASURES = [
    { key: "srocc", title: "SROCC", help: "Spearman’s rank correlation of the heads’ own output with the labels" },
    { key: "krocc", title: "KROCC", help: "Kendall’s rank correlation (τ-b) of the heads’ own output with the labels" },
    { key: "plcc", title: "PLCC", help: "linear correlation with the labels, after the run’s mapping" },
    { key: "plcc_plain", title: "PLCC plain", help: "linear correlation of the heads’ own output with the labels, without a mapping" },
    { key: "rmse", title: "RMSE", help: "root mean square error, after the run’s mapping" },
    { key: "rmse_plain", title: "RMSE plain", help: "root mean square error of the heads’ own output, without a mapping" },
    { key: "rmse_calibrated", title: "RMSE calibrated", help: "root mean square error of the calibrated scores, which this page shows" },
  ];
  const TEST = data.parts.indexOf("test");
  const ALL = -1;
  const MOST_ROWS = 2000;
  const MINUS = "\u2212", NOTHING = "\u2013";
  const collator = new Intl.Collator("en", { numeric: true });
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const state = { run: 0, dataset: "", split: ALL, part: TEST, content: "", text: "", chosen: null };
  const opened = new Map(); // name of a file that the reader opened → its blob address

  const $ = (id) => document.getElementById(id);
  const run = () => data.runs[state.run];
  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
  const fixed = (value, digits) => (isNumber(value) ? value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", MINUS) : NOTHING);
  const signed = (value, digits) => (isNumber(value) && Number(value.toFixed(digits)) > 0 ? "+" : "") + fixed(value, digits);
  const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : NaN);
  // what is left when the label is taken from the score, both as they are shown
  const difference = (score, label, places) => Number(score.toFixed(places)) - Number(label.toFixed(places));
  const basename = (name) => name.split("/").pop();

  function make(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(properties)) {
      if (key.includes("-") || key === "role" || key === "for") node.setAttribute(key, value);
      else node[key] = value;
    }
    node.append(...children);
    return node;
  }

  function draw(tag, attributes = {}, text = null) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== null) node.textContent = text;
    return node;
  }

  function logistic(tau, x) {
    return (tau[0] - tau[1]) / (1 + Math.exp(-(x - tau[2]) / tau[3])) + tau[1];
  }

  function ticks(low, high, wanted) {
    const raw = (high - low) / wanted || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw * 0.999);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const found = [];
    for (let place = Math.ceil(low / step - 1e-9); place * step <= high + step * 1e-9; place += 1) {
      found.push({ value: place * step, text: fixed(place * step, digits) });
    }
    return found;
  }

  function extent(values) {
    let low = Infinity, high = -Infinity;
    for (const value of values) {
      if (!isNumber(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return low > high ? [0, 1] : low === high ? [low - 0.5, high + 0.5] : [low, high];
  }

  function padded([low, high], share = 0.04) {
    const more = (high - low) * share;
    return [low - more, high + more];
  }

  function range(name) {
    const found = run().datasets.find((one) => one.name === name) || run().datasets[0];
    return found.range;
  }

  function digits(name) {
    const [low, high] = range(name);
    return high - low > 50 ? 1 : high - low > 10 ? 2 : 3;
  }

  // --- tables ---------------------------------------------------------------------------------------------------------------------

  // A column: title, key (row → what is sorted by), cell (row → text or node); words are to the left, numbers to the right.
  function sortable(table, label, columns, sorted) {
    const state = { column: sorted.column, falling: sorted.falling, rows: [] };
    const body = make("tbody");
    const buttons = columns.map((column, place) => {
      const arrow = make("span", { className: "arrow", "aria-hidden": "true" });
      const button = make("button", { type: "button" });
      if (column.words) button.append(column.title, arrow);
      else button.append(arrow, column.title);
      button.addEventListener("click", () => {
        state.falling = state.column === place ? !state.falling : !column.words;
        state.column = place;
        show();
      });
      return { arrow, header: make("th", { scope: "col", className: column.words ? "words" : "", title: column.help || "" }, button) };
    });
    table.replaceChildren(
      make("caption", { className: "unseen" }, label),
      make("thead", {}, make("tr", {}, ...buttons.map((one) => one.header))), body);
    const cached = new WeakMap();
    function rowOf(item) {
      if (!cached.has(item)) {
        const cells = columns.map((column) => {
          const cell = make("td", { className: (column.words ? "words" : "") + (column.long ? " long" : "") });
          cell.append(column.cell(item));
          return cell;
        });
        cached.set(item, make("tr", {}, ...cells));
      }
      return cached.get(item);
    }
    function show() {
      const key = state.column === null ? () => 0 : columns[state.column].key; // null: in the order given
      const turn = state.falling ? -1 : 1;
      const missing = (value) => typeof value === "number" ? !Number.isFinite(value) : value === null;
      const order = state.rows.map((item, place) => ({ item, place, value: key(item) }));
      order.sort((one, two) => {
        const absent = missing(one.value) - missing(two.value); // what has no value stays last
        if (absent || missing(one.value)) return absent || one.place - two.place;
        const by = typeof one.value === "number" ? one.value - two.value : collator.compare(one.value, two.value);
        return turn * by || one.place - two.place;
      });
      body.replaceChildren(...order.slice(0, MOST_ROWS).map((one) => rowOf(one.item)));
      buttons.forEach(({ arrow, header }, place) => {
        const own = place === state.column;
        arrow.textContent = own ? (state.falling ? "\u25BC" : "\u25B2") : "";
        if (own) header.setAttribute("aria-sort", state.falling ? "descending" : "ascending");
        else header.removeAttribute("aria-sort");
      });
      if (shown.after) shown.after();
    }
    const shown = {
      body, rowOf, after: null,
      fill(rows) { state.rows = rows; show(); },
    };
    return shown;
  }

  // --- metrics --------------------------------------------------------------------------------------------------------------------

  function metricRows() {
    return data.runs.flatMap((one, place) => {
      const own = Object.entries(one.summary.datasets || {}).map(([dataset, summary]) => ({ dataset, summary }));
      const whole = { dataset: own.length ? "weighted mean" : one.datasets[0].name, summary: one.summary };
      return [...own, whole].map((row) => ({ ...row, place, name: one.name, head: one.head, features: one.feature_sets }));
    });
  }

  const FEW = " *";

  // whether a split was measured on few videos, in the mean over data sets also where one of them was
  function isOnFew({ summary, split }) {
    return [summary, ...Object.values(summary.datasets || {})].some((one) => one.n[split] < data.few_videos);
  }

  function metricNotes() {
    const named = (one, note) => (data.runs.length > 1 ? `${one.name}: ${note}` : note);
    const read = (mapping) => (mapping === "none" ? "are those without a mapping" : `are read after the mapping '${mapping}', which is fitted to each test part`);
    const mappings = [...new Set(data.runs.map((one) => one.mapping))].map((mapping, _, { length }) => {
      const names = data.runs.filter((one) => one.mapping === mapping).map((one) => one.name);
      return `${length > 1 ? `${names.join(", ")}: ` : ""}PLCC and RMSE ${read(mapping)}`;
    });
    const plain = "PLCC plain and RMSE plain are those of the heads’ own output, without a mapping; RMSE calibrated is that of the calibrated scores";
    const few = data.runs.filter((one) => one.few_videos).map((one) => `* ${named(one, one.few_videos)}`);
    return [...mappings, plain, ...few, ...data.runs.flatMap((one) => [...one.summary.notes, ...one.notes].map((note) => named(one, note)))];
  }

  function showMetrics() {
    const rows = metricRows();
    const chooser = (row) => {
      const button = make("button", { type: "button", textContent: row.name });
      button.addEventListener("click", () => chooseRun(row.place));
      return button;
    };
    const figure = (value, text, few) => (isNumber(value) ? text + (few ? FEW : "") : NOTHING);
    const spread = ({ mean: middle, std, median }, few) => make("div", {},
      make("div", { textContent: figure(middle, `${fixed(middle, 3)} ± ${fixed(std, 3)}`, few) }),
      make("div", { className: "quiet", textContent: isNumber(median) ? `median ${figure(median, fixed(median, 3), few)}` : "" }));
    const measures = MEASURES.map(({ key, title, help }) => ({
      title, help: `${help}: mean ± standard deviation over the splits, and median`, key: (row) => row.summary[key].mean,
      cell: ({ summary }) => spread(summary[key], summary.few_videos),
    }));
    const videos = (row) => mean(row.summary.n);
    const columns = [
      { title: "Run", words: true, long: true, key: (row) => row.name, cell: chooser },
      { title: "Data set", words: true, key: (row) => row.dataset, cell: (row) => row.dataset },
      { title: "Videos", help: "test videos of a split, in the mean", key: videos, cell: (row) => fixed(videos(row), Number.isInteger(videos(row)) ? 0 : 1) },
      ...measures,
    ];
    sortable($("metrics-table"), "Metrics of each run: mean ± standard deviation, and median", columns, { column: null, falling: false }).fill(rows);
    $("metrics-notes").replaceChildren(...metricNotes().map((note) => make("li", { textContent: note })));
    const splits = rows.flatMap((row) => row.summary.n.map((n, split) => ({ ...row, n, split })));
    const perSplit = [
      columns[0], columns[1],
      { title: "Split", key: (row) => row.split, cell: (row) => String(row.split) },
      { title: "Videos", key: (row) => row.n, cell: (row) => String(row.n) },
      ...MEASURES.map(({ key, title, help }) => ({
        title, help, key: (row) => row.summary[key].values[row.split],
        cell: (row) => figure(row.summary[key].values[row.split], fixed(row.summary[key].values[row.split], 3), isOnFew(row)),
      })),
    ];
    sortable($("splits-table"), "Metrics of each split", perSplit, { column: 2, falling: false }).fill(splits);
    const heads = [...new Set(data.runs.map((one) => `${one.head} on ${one.feature_sets}`))].join(", ");
    const sets = [...new Set(data.runs.flatMap((one) => one.datasets.map((set) => set.name)))].join(", ");
    $("subtitle").textContent = `${data.runs.length === 1 ? "One run" : `${data.runs.length} runs`} · ${heads} · ${sets}`;
  }

  // --- tables of the papers -------------------------------------------------------------------------------------------------------

  function chooseRun(place) {
    $("run").value = place;
    $("run").dispatchEvent(new Event("change", { bubbles: true }));
  }

  function showTables() {
    const shown = data.tables.map((paper) => {
      const cellOf = (at) => (row) => {
        const { text, runs } = row.cells[at];
        if (!runs.length) return text;
        const name = data.runs[runs[0]].name;
        const button = make("button", { type: "button", textContent: text, title: `show ${name}` });
        button.addEventListener("click", () => { chooseRun(runs[0]); $("scores").scrollIntoView(); });
        return button;
      };
      const key = (at) => (row) => row.cells[at].value === null ? NaN : row.cells[at].value;
      const columns = [
        { title: "", words: true, long: true, key: (row) => row.name, cell: (row) => row.name },
        ...paper.columns.map((title, at) => ({ title, key: key(at), cell: cellOf(at) })),
      ];
      const table = make("table");
      sortable(table, paper.title, columns, { column: null, falling: false }).fill(paper.rows);
      return make("div", { className: "paper" }, make("h2", { textContent: paper.title }), make("div", { className: "scroll" }, table),
        make("ul", { className: "notes" }, ...paper.notes.map((note) => make("li", { textContent: note }))));
    });
    $("tables").replaceChildren(...shown);
    $("tables").hidden = !shown.length;
    document.querySelector("nav a[href='#tables']").hidden = !shown.length;
  }

  // --- what is shown --------------------------------------------------------------------------------------------------------------

  let points = []; // rows of the run's scores that the filters leave
  let videosShown = [];

  function choose() {
    const { scores, videos } = run();
    const content = state.content.trim().toLowerCase(), text = state.text.trim().toLowerCase();
    const fits = videos.name.map((name, video) => videos.dataset[video] === state.dataset
      && (!content || videos.content[video].toLowerCase().includes(content)) && (!text || name.toLowerCase().includes(text)));
    points = [];
    const byVideo = new Map();
    for (let row = 0; row < scores.video.length; row += 1) {
      if (!fits[scores.video[row]] || (state.split !== ALL && scores.split[row] !== state.split)) continue;
      if (state.part !== ALL && scores.part[row] !== state.part) continue;
      points.push(row);
      const own = byVideo.get(scores.video[row]);
      if (own) own.push(row);
      else byVideo.set(scores.video[row], [row]);
    }
    videosShown = [...byVideo].map(([video, rows]) => ({
      video, rows,
      score: mean(rows.map((row) => scores.score[row])),
    }));
    for (const shown of videosShown) shown.error = difference(shown.score, videos.mos[shown.video], digits(videos.dataset[shown.video]));
    const size = (shown) => Math.abs(shown.score - videos.mos[shown.video]); // decides among errors that are equal as shown
    videosShown.sort((one, two) => size(two) - size(one));
    $("count").textContent = `${videosShown.length} videos, ${points.length} scores`;
  }

  // --- scatter --------------------------------------------------------------------------------------------------------------------

  const scatter = $("scatter"), marks = $("scatter-marks"), tip = $("tip");
  const CELL = 24, REACH = 12, DASH = [7, 5], EDGE = { left: 56, right: 12, top: 10, bottom: 42 };
  let view = null; // scales and the grid of points, of the last drawing
  let hovered = -1; // position among the points

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const partName = (part) => data.parts[part];
  const PART_WORDS = { train: "training", validation: "validation", test: "test" };

  function shape(context, part, x, y, size) {
    context.beginPath();
    if (part === TEST) context.arc(x, y, size, 0, 2 * Math.PI);
    else if (partName(part) === "validation") context.rect(x - size, y - size, 2 * size, 2 * size);
    else { context.moveTo(x - size, y - size); context.lineTo(x + size, y + size); context.moveTo(x + size, y - size); context.lineTo(x - size, y + size); }
    if (part === TEST) context.fill();
    else context.stroke();
  }

  function sized(canvas) {
    const box = canvas.parentElement.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, box.width, box.height);
    return { context, width: box.width, height: box.height };
  }

  function viewOf(width, height) {
    const { scores, videos } = run();
    // axes follow run, data set and part alone, so that points stay where they are while one searches
    const rows = scores.video.map((_, row) => row).filter((row) => videos.dataset[scores.video[row]] === state.dataset
      && (state.part === ALL || scores.part[row] === state.part));
    const xs = padded(extent(rows.map((row) => scores.score[row]))), ys = padded(extent(rows.map((row) => videos.mos[scores.video[row]])));
    const x = (value) => EDGE.left + (value - xs[0]) / (xs[1] - xs[0]) * (width - EDGE.left - EDGE.right);
    const y = (value) => height - EDGE.bottom - (value - ys[0]) / (ys[1] - ys[0]) * (height - EDGE.top - EDGE.bottom);
    const grid = new Map();
    const places = points.map((row, place) => {
      const at = [x(scores.score[row]), y(videos.mos[scores.video[row]])];
      const cell = `${Math.floor(at[0] / CELL)},${Math.floor(at[1] / CELL)}`;
      if (grid.has(cell)) grid.get(cell).push(place);
      else grid.set(cell, [place]);
      return at;
    });
    const order = points.map((_, place) => place).sort((one, two) => places[one][0] - places[two][0] || places[one][1] - places[two][1]);
    return { xs, ys, x, y, grid, places, order, width, height };
  }

  function drawScatter() {
    const { context, width, height } = sized(scatter);
    view = viewOf(width, height);
    const { x, y, xs, ys } = view;
    const right = width - EDGE.right, bottom = height - EDGE.bottom;
    context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    context.lineWidth = 1;
    context.fillStyle = colour("quiet");
    context.strokeStyle = colour("line");
    const line = (...ends) => { context.beginPath(); context.moveTo(ends[0], ends[1]); context.lineTo(ends[2], ends[3]); context.stroke(); };
    context.textAlign = "center";
    for (const tick of ticks(xs[0], xs[1], Math.max(3, width / 90))) {
      const at = Math.round(x(tick.value)) + 0.5;
      line(at, EDGE.top, at, bottom);
      context.fillText(tick.text, at, bottom + 16);
    }
    context.textAlign = "right";
    for (const tick of ticks(ys[0], ys[1], Math.max(3, height / 70))) {
      const at = Math.round(y(tick.value)) + 0.5;
      line(EDGE.left, at, right, at);
      context.fillText(tick.text, EDGE.left - 8, at + 4);
    }
    context.fillStyle = colour("ink");
    context.textAlign = "center";
    context.fillText("calibrated score", (EDGE.left + right) / 2, height - 6);
    context.save();
    context.translate(12, (EDGE.top + bottom) / 2);
    context.rotate(-Math.PI / 2);
    const dataset = run().datasets.find((one) => one.name === state.dataset);
    context.fillText(`${dataset.score} of ${dataset.name}`, 0, 0);
    context.restore();
    const { scores } = run();
    const size = points.length > 3000 ? 2 : points.length > 600 ? 2.6 : 3.4;
    data.parts.forEach((name, part) => {
      context.fillStyle = context.strokeStyle = colour(name);
      context.globalAlpha = points.length > 3000 ? 0.4 : 0.6;
      for (let place = 0; place < points.length; place += 1) {
        if (scores.part[points[place]] === part) shape(context, part, view.places[place][0], view.places[place][1], size);
      }
    });
    context.globalAlpha = 1;
    drawLines(context);
    drawMarks();
  }

  function fittedNow() {
    return run().fitted.find((one) => one.dataset === state.dataset && one.split === state.split);
  }

  function drawLines(context) {
    const { tau } = fittedNow();
    const { x, y, xs } = view;
    const along = (label, ink, dash) => {
      for (const [stroke, wide, dashes] of [["ground", 4.5, []], [ink, 2, dash]]) { // a rim keeps the line visible over many points
        context.strokeStyle = colour(stroke);
        context.lineWidth = wide;
        context.setLineDash(dashes);
        context.beginPath();
        for (let step = 0; step <= 200; step += 1) {
          const value = xs[0] + step / 200 * (xs[1] - xs[0]);
          context[step ? "lineTo" : "moveTo"](x(value), y(label(value)));
        }
        context.stroke();
      }
    };
    context.save();
    context.beginPath();
    context.rect(EDGE.left, EDGE.top, view.width - EDGE.left - EDGE.right, view.height - EDGE.top - EDGE.bottom);
    context.clip();
    along((value) => value, "equal", DASH);
    if (tau.length) along((value) => logistic(tau, value), "fit", []);
    context.restore();
  }

  function drawMarks() {
    const { context } = sized(marks);
    const { scores } = run();
    const ring = (place, size, name) => {
      context.strokeStyle = colour(name);
      context.lineWidth = 2;
      context.beginPath();
      context.arc(view.places[place][0], view.places[place][1], size, 0, 2 * Math.PI);
      context.stroke();
    };
    if (state.chosen !== null) points.forEach((row, place) => { if (scores.video[row] === state.chosen) ring(place, 7, "chosen"); });
    if (hovered >= 0) ring(hovered, 6, "ink");
  }

  function nearest(x, y) {
    let best = -1, least = REACH * REACH;
    const column = Math.floor(x / CELL), line = Math.floor(y / CELL);
    for (let i = column - 1; i <= column + 1; i += 1) {
      for (let j = line - 1; j <= line + 1; j += 1) {
        for (const place of view.grid.get(`${i},${j}`) || []) {
          const distance = (view.places[place][0] - x) ** 2 + (view.places[place][1] - y) ** 2;
          if (distance < least) { least = distance; best = place; }
        }
      }
    }
    return best;
  }

  function told(place) {
    const { scores, videos } = run();
    const row = points[place], video = scores.video[row], own = digits(videos.dataset[video]);
    const error = difference(scores.score[row], videos.mos[video], own);
    const lines = [
      `${partName(scores.part[row])} part of split ${scores.split[row]}`,
      `score ${fixed(scores.score[row], own)}   label ${fixed(videos.mos[video], own)}   error ${signed(error, own)}`,
    ];
    if (videos.content[video] && videos.content[video] !== videos.name[video]) lines.push(`content ${videos.content[video]}`);
    return { name: videos.name[video], lines };
  }

  function hover(place) {
    if (place === hovered) return;
    hovered = place;
    drawMarks();
    tip.hidden = place < 0;
    marks.style.cursor = place < 0 ? "crosshair" : "pointer";
    if (place < 0) return;
    const { name, lines } = told(place);
    tip.replaceChildren(make("strong", { textContent: name }), ...lines.map((text) => make("div", { textContent: text })));
    const [x, y] = view.places[place], box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(0, x + 14 + box.width > view.width ? x - 14 - box.width : x + 14)}px`;
    tip.style.top = `${Math.max(0, Math.min(y - box.height / 2, view.height - box.height))}px`;
  }

  marks.addEventListener("pointermove", (event) => {
    const box = marks.getBoundingClientRect();
    hover(nearest(event.clientX - box.left, event.clientY - box.top));
  });
  marks.addEventListener("pointerleave", () => hover(-1));
  marks.addEventListener("blur", () => hover(-1));
  marks.addEventListener("click", (event) => {
    const box = marks.getBoundingClientRect(), place = nearest(event.clientX - box.left, event.clientY - box.top);
    if (place >= 0) open(run().scores.video[points[place]], true);
  });
  marks.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 20, PageDown: -20, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") { hover(-1); return; }
    if ((event.key === "Enter" || event.key === " ") && hovered >= 0) {
      event.preventDefault();
      open(run().scores.video[points[hovered]], true);
      return;
    }
    if (!(event.key in steps) || !points.length) return;
    event.preventDefault();
    const last = view.order.length - 1, now = hovered < 0 ? -1 : view.order.indexOf(hovered);
    const next = now < 0 ? (steps[event.key] > 0 ? 0 : last) : Math.min(last, Math.max(0, now + steps[event.key]));
    hover(view.order[next]);
    const { name, lines } = told(view.order[next]);
    $("scatter-said").textContent = [name, ...lines].join(", ");
  });

  function showLegend() {
    const sign = (part) => {
      const svg = draw("svg", { width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" });
      svg.style.width = "12px";
      const ink = `var(--${partName(part)})`;
      const mark = part === TEST ? draw("circle", { cx: 6, cy: 6, r: 4 }) : partName(part) === "validation"
        ? draw("rect", { x: 2, y: 2, width: 8, height: 8 }) : draw("path", { d: "M2 2L10 10M10 2L2 10" });
      mark.style[part === TEST ? "fill" : "stroke"] = ink;
      if (part !== TEST) mark.style.fill = "none";
      svg.append(mark);
      return svg;
    };
    const line = (d, ink, dash) => {
      const svg = draw("svg", { width: 26, height: 12, viewBox: "0 0 26 12", "aria-hidden": "true" });
      svg.style.width = "26px";
      const path = draw("path", { d, "stroke-width": 2, "stroke-dasharray": dash });
      path.style.stroke = `var(--${ink})`;
      path.style.fill = "none";
      svg.append(path);
      return svg;
    };
    const present = data.parts.map((_, part) => part).filter((part) => points.some((row) => run().scores.part[row] === part)).reverse();
    const fit = fittedNow();
    const entries = present.map((part) => make("span", {}, sign(part), partName(part)));
    entries.push(make("span", {}, line("M0 6H26", "equal", DASH.join(" ")), "score = label"));
    if (fit.tau.length) entries.push(make("span", {}, line("M0 9C9 9 17 3 26 3", "fit", "none"), "fitted logistic"));
    $("legend").replaceChildren(...entries);
    const of = state.split === ALL ? "the test parts of all splits together" : `the test part of split ${state.split}`;
    const what = fit.tau.length ? `The logistic is fitted to the scores of ${of}.${fit.note ? ` Note: ${fit.note}.` : ""}` : `No logistic is fitted to ${of}: ${fit.note}.`;
    const on = run().calibrated_on.map((part) => PART_WORDS[part]).join(" or ");
    const read = `A score is the head’s own output on the scale of the labels, by a straight line that was fitted to the ${on} part of its split.`;
    $("scatter-caption").textContent = `${read} An error is score minus label. ${what}`;
  }

  // --- videos ---------------------------------------------------------------------------------------------------------------------

  let videoTable = null;

  function makeVideoTable() {
    const { videos, scores } = run();
    const own = (row) => digits(videos.dataset[row.video]);
    const opener = (row) => {
      const button = make("button", { type: "button", tabIndex: -1, textContent: videos.name[row.video] });
      button.dataset.video = row.video;
      return button;
    };
    const seen = (row) => data.parts.map((name, part) => [name, row.rows.filter((one) => scores.part[one] === part).length])
      .filter(([, count]) => count).map(([name, count]) => count > 1 ? `${name} ×${count}` : name).reverse().join(", ");
    const columns = [
      { title: "Video", words: true, long: true, key: (row) => videos.name[row.video], cell: opener },
      { title: "Content", words: true, key: (row) => videos.content[row.video], cell: (row) => videos.content[row.video] },
      { title: "Part", words: true, help: "parts that it is in, and in how many splits", key: seen, cell: seen },
      { title: "Label", key: (row) => videos.mos[row.video], cell: (row) => fixed(videos.mos[row.video], own(row)) },
      { title: "Score", help: "calibrated score, the mean over the splits shown", key: (row) => row.score, cell: (row) => fixed(row.score, own(row)) },
      { title: "Error", help: "score minus label; above 0 the run overrates the video", key: (row) => row.error, cell: (row) => signed(row.error, own(row)) },
      { title: "|Error|", help: "size of the error", key: (row) => Math.abs(row.error), cell: (row) => fixed(Math.abs(row.error), own(row)) },
      { title: "File", words: true, help: "whether the page can play it", key: (row) => addressOf(row.video) ? "plays" : "", cell: (row) => addressOf(row.video) ? "plays" : NOTHING },
    ];
    videoTable = sortable($("videos-table"), "Videos", columns, { column: 6, falling: true });
    videoTable.after = () => {
      const more = videosShown.length - MOST_ROWS;
      $("videos-note").textContent = more > 0 ? `The first ${MOST_ROWS} of ${videosShown.length}; filter or sort to see the others.` : "";
      markChosen();
    };
  }

  function markChosen() {
    if (!videoTable) return;
    let first = null;
    for (const line of videoTable.body.rows) {
      const button = line.querySelector("button"), own = Number(button.dataset.video) === state.chosen;
      if (own) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
      button.tabIndex = own ? 0 : -1;
      if (own) first = button;
    }
    if (!first && videoTable.body.rows.length) videoTable.body.rows[0].querySelector("button").tabIndex = 0;
  }

  $("videos-table").addEventListener("click", (event) => {
    const line = event.target.closest("tbody tr");
    if (line) open(Number(line.querySelector("button").dataset.video), true);
  });
  $("videos-table").addEventListener("keydown", (event) => {
    const line = event.target.closest("tbody tr"), lines = [...videoTable.body.rows];
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity };
    if (!line || !(event.key in steps)) return;
    event.preventDefault();
    const next = lines[Math.min(lines.length - 1, Math.max(0, lines.indexOf(line) + steps[event.key]))].querySelector("button");
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  // --- the chosen video -----------------------------------------------------------------------------------------------------------

  const player = $("player");

  function addressOf(video) {
    const { name, address } = run().videos;
    return opened.get(basename(name[video])) || address[video];
  }

  function open(video, play) {
    state.chosen = video;
    showChosen();
    drawMarks();
    markChosen();
    if (!play) return;
    if (!$("player").hidden && !calm.matches) player.play().catch(() => {}); // a browser may refuse; the controls are there
    const box = $("chosen").getBoundingClientRect();
    if (box.bottom < 80 || box.top > innerHeight - 80) $("chosen").scrollIntoView({ block: "start" });
  }

  function showChosen() {
    const { videos, scores } = run();
    const video = state.chosen;
    if (video === null) {
      $("chosen-title").textContent = "None: the filters leave no video.";
      player.hidden = $("frames-box").hidden = true;
      $("player-note").textContent = "";
      $("chosen-facts").replaceChildren();
      $("chosen-table").parentElement.hidden = true;
      return;
    }
    const own = digits(videos.dataset[video]);
    $("chosen-title").textContent = videos.name[video];
    showPlayer(video);
    showFrames(video);
    const rows = scores.video.map((_, row) => row).filter((row) => scores.video[row] === video);
    const tested = rows.filter((row) => scores.part[row] === TEST);
    const facts = [["label", fixed(videos.mos[video], own)]];
    if (tested.length) {
      const score = mean(tested.map((row) => scores.score[row]));
      facts.push(["score in testing", `${fixed(score, own)}, the mean over ${tested.length} split${tested.length > 1 ? "s" : ""}`]);
      facts.push(["error in testing", `${signed(difference(score, videos.mos[video], own), own)}, score minus label`]);
    }
    facts.push(["content", videos.content[video]], ["data set", videos.dataset[video]], ...elsewhere(video, own));
    $("chosen-facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
    $("chosen-table").parentElement.hidden = false;
    sortable($("chosen-table"), "Scores of the chosen video", [
      { title: "Split", key: (row) => scores.split[row.row], cell: (row) => String(scores.split[row.row]) },
      { title: "Part", words: true, key: (row) => scores.part[row.row], cell: (row) => partName(scores.part[row.row]) },
      { title: "Own output", help: "of the head, before calibration", key: (row) => scores.output[row.row], cell: (row) => fixed(scores.output[row.row], own) },
      { title: "Score", help: "calibrated score", key: (row) => scores.score[row.row], cell: (row) => fixed(scores.score[row.row], own) },
      { title: "Error", help: "score minus label", key: (row) => row.error, cell: (row) => signed(row.error, own) },
    ], { column: 1, falling: true }).fill(rows.map((row) => ({ row, error: difference(scores.score[row], videos.mos[video], own) })));
  }

  // what the other runs of the page gave to the same video
  function elsewhere(video, own) {
    const { videos } = run();
    return data.runs.flatMap((other, place) => {
      if (place === state.run) return [];
      const same = other.videos.name.findIndex((name, at) => name === videos.name[video] && other.videos.dataset[at] === videos.dataset[video]);
      const found = other.scores.score.filter((_, row) => other.scores.video[row] === same && other.scores.part[row] === TEST);
      return found.length ? [[`score of ${other.name}`, fixed(mean(found), own)]] : [];
    });
  }

  function showPlayer(video) {
    const address = addressOf(video);
    player.hidden = !address;
    if (!address) {
      player.removeAttribute("src");
      player.load();
      $("player-note").textContent = "No file of this video is at hand. Make the page with --videos, or open the files here; they stay on this computer.";
      return;
    }
    $("player-note").textContent = "";
    if (player.getAttribute("src") !== address) player.src = address;
    player.setAttribute("aria-label", `Video ${run().videos.name[video]}`);
  }
  player.addEventListener("error", () => {
    if (player.getAttribute("src")) $("player-note").textContent = "The browser cannot play this file: it is not where it was, or of a format that browsers do not know.";
  });
  $("files").addEventListener("change", () => {
    for (const file of $("files").files) {
      if (opened.has(file.name)) URL.revokeObjectURL(opened.get(file.name));
      opened.set(file.name, URL.createObjectURL(file));
    }
    makeVideoTable();
    showAll();
  });

  // --- curves ---------------------------------------------------------------------------------------------------------------------

  // series: [{x, y, strong}]; levels: [{value, kind, text}]
  function chart(label, xLabel, series, levels = [], height = 200) {
    const width = 520, edge = { left: 46, right: 10, top: 10, bottom: 34 };
    const xs = extent(series.flatMap((one) => extent(one.x)));
    const ys = padded(extent([...series.flatMap((one) => extent(one.y)), ...levels.map((level) => level.value)]), 0.08);
    const x = (value) => edge.left + (value - xs[0]) / (xs[1] - xs[0]) * (width - edge.left - edge.right);
    const y = (value) => height - edge.bottom - (value - ys[0]) / (ys[1] - ys[0]) * (height - edge.top - edge.bottom);
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    for (const tick of ticks(ys[0], ys[1], 4)) {
      svg.append(draw("line", { class: "axis", x1: edge.left, x2: width - edge.right, y1: y(tick.value), y2: y(tick.value) }));
      svg.append(draw("text", { x: edge.left - 6, y: y(tick.value) + 4, "text-anchor": "end" }, tick.text));
    }
    const wanted = xLabel === "seconds" ? 7 : Math.min(7, xs[1] - xs[0]); // epochs and rows are whole numbers
    for (const tick of ticks(xs[0], xs[1], wanted)) svg.append(draw("text", { x: x(tick.value), y: height - edge.bottom + 15, "text-anchor": "middle" }, tick.text));
    svg.append(draw("text", { x: (edge.left + width - edge.right) / 2, y: height - 4, "text-anchor": "middle" }, xLabel));
    for (const level of levels) {
      svg.append(draw("line", { class: `level ${level.kind}`, x1: edge.left, x2: width - edge.right, y1: y(level.value), y2: y(level.value) }));
    }
    for (const one of [...series].sort((a, b) => Boolean(a.strong) - Boolean(b.strong))) {
      let path = "", apart = true;
      one.x.forEach((value, place) => {
        if (!isNumber(one.y[place])) { apart = true; return; }
        path += `${apart ? "M" : "L"}${x(value).toFixed(2)} ${y(one.y[place]).toFixed(2)}`;
        apart = false;
      });
      svg.append(draw("path", { class: one.strong ? "series strong" : "series", d: path }));
      if (one.mark !== undefined && isNumber(one.mark[1])) svg.append(draw("circle", { class: "kept", cx: x(one.mark[0]), cy: y(one.mark[1]), r: 3.5 }));
    }
    return { svg, x, xs, edge, width, height };
  }

  let follow = () => {};

  function showFrames(video) {
    const curve = run().frames.find((one) => one.video === video), { reasons, video: reasonOf } = run().no_frames;
    follow = () => {};
    $("frames-box").hidden = false;
    $("frames-title").textContent = "Score of each frame";
    if (!curve) {
      $("frames").replaceChildren();
      $("frames-help").textContent = reasons[reasonOf[video]];
      return;
    }
    const timed = curve.seconds.length > 0, { mos, dataset } = run().videos, own = digits(dataset[video]);
    const times = timed ? curve.seconds : curve.scores.map((_, place) => place);
    const middle = mean(curve.scores);
    const levels = [{ value: middle, kind: "score" }, { value: mos[video], kind: "label" }];
    const drawn = chart("Calibrated score of each frame", timed ? "seconds" : "row", [{ x: times, y: curve.scores, strong: true }], levels);
    const { svg, x, xs, edge, width, height } = drawn;
    const heads = `the mean over the ${curve.splits.length > 1 ? `${curve.splits.length} splits` : "split"} that tested it`;
    const text = `Solid: calibrated scores of the frames, ${heads}. Dashed: their mean, ${fixed(middle, own)}. Dotted: label, ${fixed(mos[video], own)}.`;
    const playable = timed && !player.hidden;
    $("frames-help").textContent = playable ? `${text} Click the curve, or use its arrow keys, to go there in the video.` : text;
    $("frames").replaceChildren(svg);
    if (!playable) return;
    const head = draw("line", { class: "head", x1: edge.left, x2: edge.left, y1: edge.top, y2: height - edge.bottom });
    svg.append(head);
    for (const [name, value] of [["role", "slider"], ["tabindex", "0"], ["aria-label", "Time in the video, along the frames’ scores"], ["aria-valuemin", "0"], ["aria-valuemax", xs[1].toFixed(2)]]) svg.setAttribute(name, value);
    follow = () => {
      const now = Math.min(xs[1], Math.max(xs[0], player.currentTime));
      let place = times.findIndex((time) => time > now + 1e-6);
      place = (place < 0 ? times.length : Math.max(1, place)) - 1;
      head.setAttribute("x1", x(now));
      head.setAttribute("x2", x(now));
      svg.setAttribute("aria-valuenow", now.toFixed(2));
      svg.setAttribute("aria-valuetext", `${now.toFixed(2)} seconds, score ${fixed(curve.scores[place], own)}`);
    };
    const seek = (second) => { player.currentTime = Math.min(xs[1], Math.max(0, second)); follow(); };
    const pointed = (event) => {
      const box = svg.getBoundingClientRect();
      const at = (event.clientX - box.left) / box.width * width;
      seek(xs[0] + (at - edge.left) / (width - edge.left - edge.right) * (xs[1] - xs[0]));
    };
    svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); pointed(event); });
    svg.addEventListener("pointermove", (event) => { if (event.buttons) pointed(event); });
    svg.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 0.1, ArrowUp: 0.1, ArrowLeft: -0.1, ArrowDown: -0.1, PageUp: 1, PageDown: -1, Home: -Infinity, End: Infinity };
      if (event.key === " ") { event.preventDefault(); if (player.paused) player.play().catch(() => {}); else player.pause(); }
      if (!(event.key in steps)) return;
      event.preventDefault();
      seek(player.currentTime + steps[event.key]);
    });
    follow();
  }

  for (const name of ["timeupdate", "seeking", "loadedmetadata"]) player.addEventListener(name, () => follow());
  player.addEventListener("play", () => {
    if (calm.matches) return; // then the line steps with timeupdate alone
    const step = () => { follow(); if (!player.paused && !player.ended) requestAnimationFrame(step); };
    requestAnimationFrame(step);
  });

  const SERIES = { loss: "Loss, mean over the steps", validation_srocc: "SROCC of the validation part", test_srocc: "SROCC of the test part" };

  function showTraining() {
    const { training, name } = run();
    const names = [...new Set(training.flatMap((one) => Object.keys(one.series)))];
    const charts = names.map((key) => {
      const series = training.filter((one) => one.series[key]).map((one) => {
        const at = one.epoch.indexOf(one.kept_epoch);
        return { x: one.epoch, y: one.series[key], strong: one.split === state.split, mark: at < 0 ? undefined : [one.kept_epoch, one.series[key][at]] };
      });
      const title = SERIES[key] || key;
      return make("div", {}, make("h3", { textContent: title }), chart(`${title}, ${series.length} splits over the epochs`, "epoch", series).svg);
    });
    $("training-run").textContent = `of ${name}`;
    $("training-charts").replaceChildren(...charts);
    $("training-note").textContent = charts.length ? "One line a split; rings mark the epochs whose weights were kept. The chosen split’s line is the heavy one." : "The head of this run is not trained in epochs, or its curve is not there.";
  }

  function showProvenance() {
    $("provenance-run").textContent = `of ${run().name}`;
    $("provenance-groups").replaceChildren(...run().facts.map(({ group, rows }) => make("section", {},
      make("h3", { textContent: group }),
      make("dl", { className: "facts" }, ...rows.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })])))));
  }

  // --- filters --------------------------------------------------------------------------------------------------------------------

  function fill(select, entries, chosen) {
    select.replaceChildren(...entries.map(([value, text]) => make("option", { value, textContent: text })));
    select.value = chosen;
    select.disabled = entries.length < 2;
  }

  function startRun() {
    const { datasets, splits, videos } = run();
    if (!datasets.some((one) => one.name === state.dataset)) state.dataset = datasets[0].name;
    if (state.split >= splits) state.split = ALL;
    fill($("dataset"), datasets.map((one) => [one.name, one.name]), state.dataset);
    fill($("split"), [[ALL, "all"], ...Array.from({ length: splits }, (_, split) => [split, String(split)])], state.split);
    const contents = [...new Set(videos.content)].sort(collator.compare);
    $("contents").replaceChildren(...contents.slice(0, MOST_ROWS).map((content) => make("option", { value: content })));
    makeVideoTable();
    showTraining();
    showProvenance();
  }

  function showAll() {
    choose();
    hovered = -1;
    tip.hidden = true;
    videoTable.fill(videosShown);
    const left = new Set(videosShown.map((row) => row.video));
    if (state.chosen === null || !left.has(state.chosen)) {
      const first = videoTable.body.rows[0];
      state.chosen = first ? Number(first.querySelector("button").dataset.video) : null;
    }
    drawScatter();
    showLegend();
    showChosen();
    markChosen();
  }

  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("change", (event) => {
    const { id, value } = event.target;
    if (id === "run") {
      const before = state.chosen === null ? null : [run().videos.name[state.chosen], run().videos.dataset[state.chosen]];
      state.run = Number(value);
      const { name, dataset } = run().videos;
      const same = before ? name.findIndex((one, at) => one === before[0] && dataset[at] === before[1]) : -1;
      state.chosen = same < 0 ? null : same;
      startRun();
    } else if (id === "dataset") state.dataset = value;
    else if (id === "split" || id === "part") state[id] = Number(value);
    if (id === "split") showTraining();
    showAll();
  });
  $("filters").addEventListener("input", (event) => {
    const { id, value } = event.target;
    if (id !== "content" && id !== "text") return;
    state[id] = value;
    showAll();
  });
  $("filters").addEventListener("reset", () => setTimeout(() => { // after the browser's own reset
    Object.assign(state, { split: ALL, part: TEST, content: "", text: "" });
    $("run").value = state.run;
    $("part").value = state.part;
    startRun();
    showAll();
  }));

  // --- light and dark -------------------------------------------------------------------------------------------------------------

  const THEMES = ["auto", "light", "dark"];
  let theme = "auto";
  try { theme = THEMES.includes(localStorage.getItem("vqafeat-theme")) ? localStorage.getItem("vqafeat-theme") : "auto"; } catch { /* a page of a file may have no storage */ }

  function showTheme() {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    $("theme").textContent = `Theme: ${theme}`;
    if (view) drawScatter();
  }
  $("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try { localStorage.setItem("vqafeat-theme", theme); } catch { /* as above */ }
    showTheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);

  $("title").textContent = data.title;
  showTables();
  if (!data.runs.length) { // a table of which nothing was run here
    for (const part of document.querySelectorAll("main > :not(#tables), nav a, .skip")) part.hidden = true;
    showTheme();
    return;
  }
  showMetrics();
  fill($("run"), data.runs.map((one, place) => [place, one.name]), 0);
  fill($("part"), [[ALL, "all"], ...data.parts.map((name, part) => [part, name])], TEST);
  startRun();
  showAll();
  showTheme();
  new ResizeObserver(() => drawScatter()).observe($("scatter-box"));
})();
