// Plots of a width that is known only on the page, and the trial that is lit in all of them.
const lights = []; // called with a trial, or null
const tip = document.getElementById("tip");

function pairsOf(entries, name = "pairs") {
  return el("dl", { class: name }, entries.map(([term, value]) => [el("dt", { title: term }, term), el("dd", {}, value)]));
}
function tell(trial, event) {
  const params = Object.entries(trial.params || {}).filter(([name]) => varying.some((parameter) => parameter.name === name));
  const byShare = params.sort(([a], [b]) => (shareOf(b).total || 0) - (shareOf(a).total || 0)).slice(0, 8);
  const value = has(trial.value) ? `${number(trial.value)}${trial.state === "pruned" ? " (guess)" : ""}` : "";
  tip.replaceChildren(
    el("strong", {}, `Trial ${trial.trial}`), ` · ${trial.state}${value ? " · " : ""}`, value ? el("strong", {}, value) : "",
    pairsOf(byShare.map(([name, v]) => [name, shown(v)])),
    ...[reasonOf(trial), endOf(trial)].filter(Boolean).map((text) => el("p", { class: "why" }, text)));
  tip.hidden = false;
  const box = tip.getBoundingClientRect(), root = document.documentElement;
  const left = event.clientX + 16 + box.width > root.clientWidth ? event.clientX - box.width - 16 : event.clientX + 16;
  const top = Math.min(event.clientY + 12, window.innerHeight - box.height - 8);
  tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
  tip.style.top = `${Math.max(8, top) + window.scrollY}px`;
}
function light(trial, event) {
  lights.forEach((show) => show(trial));
  if (trial && event) tell(trial, event);
  else tip.hidden = true;
}

// paint(width) gives {height, nodes, find(x, y) → trial or null, lit(trial) → nodes}; it is painted anew when the width changes.
function plot(host, label, paint) {
  const over = draw("g", { "pointer-events": "none" });
  let width = 0, now = null, last = null;
  const repaint = () => {
    const wanted = Math.floor(host.clientWidth);
    if (wanted === width || wanted === 0) return;
    width = wanted;
    now = paint(width);
    over.replaceChildren();
    const image = draw("svg", { width: now.width || width, height: now.height, role: "img", "aria-label": label }, now.nodes, over);
    image.addEventListener("pointermove", (event) => {
      const box = image.getBoundingClientRect();
      const trial = now.find ? now.find(event.clientX - box.left, event.clientY - box.top) : null;
      if (trial || last) light(trial, event);
      last = trial;
    });
    image.addEventListener("pointerleave", () => { last = null; light(null); });
    host.replaceChildren(image);
  };
  lights.push((trial) => over.replaceChildren(...(trial && now && now.lit ? now.lit(trial) : [])));
  repaint();
  new ResizeObserver(repaint).observe(host);
}

// The frame of a plot: y from bottom to top. Marks of what is beyond lie at the edge (at), lines go on and are cut (line, inside).
let frames = 0;
function frame(width, height, x, y, { left = 54, right = 12, top = 10, bottom = 34, xTicks = 8, yTicks = 6, xName = "", yName = "" } = {}) {
  const w = width - left - right, h = height - top - bottom;
  const place = { x: (v) => left + w * x.at(v), y: (v) => top + h * (1 - y.at(v)), left, right: left + w, top, bottom: top + h, w, h };
  const nodes = y.ticks(yTicks).flatMap((tick) => {
    const at = round(top + h * (1 - tick.at));
    return [draw("line", { class: "grid-line", x1: left, x2: left + w, y1: at, y2: at }),
      draw("text", { x: left - 8, y: at + 4, "text-anchor": "end" }, tick.text)];
  });
  nodes.push(draw("line", { class: "axis strong", x1: left, x2: left + w, y1: top + h, y2: top + h }));
  for (const tick of x.ticks(xTicks)) {
    const at = round(left + w * tick.at);
    nodes.push(draw("line", { class: "axis strong", x1: at, x2: at, y1: top + h, y2: top + h + 4 }),
      draw("text", { x: at, y: top + h + 18, "text-anchor": "middle" }, tick.text));
  }
  if (xName) nodes.push(draw("text", { class: "lane", x: left + w, y: top + h + 33, "text-anchor": "end" }, xName));
  if (yName) nodes.push(draw("text", { class: "lane", x: 0, y: top - 10 }, yName));
  const id = `inside-${++frames}`;
  nodes.push(draw("clipPath", { id }, draw("rect", { x: left, y: top - 3, width: w, height: h + 4 })));
  const mark = (trial, px, value) => ({ trial, x: px, y: place.y(value), beyond: y.beyond(value) ? (y.raw(value) > 1 ? -1 : 1) : 0 });
  const line = (v) => Math.min(4 * height, Math.max(-3 * height, top + h * (1 - y.raw(v))));
  return { ...place, nodes, mark, line, inside: (...own) => draw("g", { "clip-path": `url(#${id})` }, own) };
}

function nearest(points, x, y, reach = 28) {
  let found = null, least = reach * reach;
  for (const point of points) {
    const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
    if (distance < least) [found, least] = [point, distance];
  }
  return found ? found.trial : null;
}
const ring = (x, y) => draw("path", { class: "lit ring", d: SHAPES.done(round(x), round(y), 7) });

const density = (lines) => (lines > 400 ? "crowd" : lines > 80 ? "many" : "");

// --- Optimisation history

function soFar() {
  const steps = [];
  let least = null;
  for (const trial of trials) {
    if (trial.state === "done" && has(trial.value) && (least === null || better(trial.value, least))) {
      least = trial.value;
      steps.push({ trial: trial.trial, value: least });
    }
  }
  return steps;
}

function historyPlot() {
  const steps = soFar();
  const lanes = ["failed", "running", "forgotten"].filter((state) => count[state] > 0);
  const y = valueScale(valued.map((trial) => trial.value));
  const x = scaleOf(0.5, Math.max(trials.length, 2) + 0.5, { whole: true });
  const beyond = valued.filter((trial) => y.beyond(trial.value));
  const gains = steps.length;
  say("history", steps.length === 0 ? "No trial has ended well yet." :
    `The ${objective} of each trial, and the best so far, which ${gains === 1 ? "came first" : `improved ${["", "", "once", "twice"][gains] || `${gains - 1} times`}`}.` +
    (count.pruned ? ` Of pruned trials it is a guess of where they were going.` : "") +
    (beyond.length ? ` The scale ends before the worst: ${many(beyond.length, "trial")} ${beyond.length === 1 ? "lies" : "lie"} at its edge.` : ""));
  if (trials.length === 0) return;
  part("history", "legend").append(...STATES.filter((state) => count[state]).map((state) => key(state, state)),
    best ? key("best", "best") : "", steps.length ? lineKey("so-far", "best so far") : "");
  plot(part("history", "chart"), `Values of ${trials.length} trials and the best so far`, (width) => {
    const room = lanes.length * 20, height = (width < 520 ? 260 : 340) + room;
    const f = frame(width, height - room, x, y, { xTicks: width < 520 ? 5 : 10, top: 26, xName: lanes.length ? "" : "trial", yName: objective });
    const points = valued.map((trial) => f.mark(trial, f.x(trial.trial), trial.value));
    const laneAt = (state) => height - room + lanes.indexOf(state) * 20 + 6;
    for (const trial of trials)
      if (lanes.includes(trial.state)) points.push({ trial, x: f.x(trial.trial), y: laneAt(trial.state) });
    const line = steps.map((step, i) => `${i ? "H" : "M"}${round(f.x(step.trial))}${i ? "V" : " "}${round(f.y(step.value))}`).join("");
    return {
      height,
      nodes: [...f.nodes,
        ...lanes.map((state) => draw("text", { class: "lane", x: f.left - 8, y: laneAt(state) + 4, "text-anchor": "end" }, state)),
        draw("g", { class: trials.length > 300 ? "dim" : "" }, marks(points, trials.length > 300 ? 2.2 : 3.2).slice(0, -1)),
        steps.length ? draw("path", { class: "so-far", d: `${line}H${round(f.right)}` }) : null,
        ...marks(points.filter((point) => point.trial === best), 3.2)],
      find: (px, py) => nearest(points, px, py),
      lit: (trial) => points.filter((point) => point.trial === trial).map((point) => ring(point.x, point.y)),
    };
  });
}

// --- Learning curves

function curvesPlot() {
  const all = trials.filter((trial) => trial.curve && trial.curve.steps && trial.curve.steps.length > 0)
    .map((trial) => ({ trial, points: trial.curve.steps.map((step, i) => [step, trial.curve.values[i]]).filter(([, v]) => has(v)) }))
    .filter((curve) => curve.points.length > 0);
  if (all.length === 0 || all.every((curve) => curve.points.length === 1 && curve.points[0][0] === all[0].points[0][0])) {
    say("curves", all.length === 0 ? "No trial has reported values along the way." : "Trials have reported one value each: there are no curves.");
    return;
  }
  const longest = all.reduce((most, { points }) => Math.max(most, points.at(-1)[0]), 1);
  const first = all.reduce((least, { points }) => Math.min(least, points[0][0]), Infinity);
  const thinned = trials.filter((trial) => trial.curve && trial.curve.steps && trial.reports > trial.curve.steps.length).length;
  const x = scaleOf(first, longest, { whole: true }), y = valueScale(all.flatMap((curve) => curve.points.map(([, v]) => v)), 0.03);
  const early = all.filter(({ trial }) => trial.state === "pruned").length;
  say("curves", `What ${many(all.length, "trial")} reported step by step.` +
    (early ? ` ${many(early, "was", "were")} stopped early, where the mark is.` : "") +
    (thinned ? ` Of ${many(thinned, "long curve")} some steps are left out.` : ""));
  part("curves", "legend").append(...STATES.filter((s) => all.some((curve) => curve.trial.state === s)).map((s) => lineKey(`line ${s}`, s)),
    best && best.curve ? lineKey("line best", "best") : "");
  plot(part("curves", "chart"), `Values by step of ${all.length} trials`, (width) => {
    const f = frame(width, width < 520 ? 270 : 360, x, y, { xTicks: width < 520 ? 5 : 10, bottom: 40, top: 26, xName: "step", yName: objective });
    const placed = all.map(({ trial, points }) => ({ trial, at: points.map(([step, v]) => [f.x(step), f.line(v)]) }));
    const path = (at) => at.map(([px, py], i) => `${i ? "L" : "M"}${round(px)} ${round(py)}`).join("") + (at.length === 1 ? "h0.1" : "");
    const rank = (curve) => KINDS.indexOf(kindOf(curve.trial));
    const ends = (state) => placed.filter((curve) => curve.trial.state === state)
      .map(({ at }) => SHAPES.done(round(at.at(-1)[0]), round(at.at(-1)[1]), 2.2)).join("");
    return {
      height: width < 520 ? 270 : 360,
      nodes: [...f.nodes, f.inside(draw("g", { class: density(all.length) },
        [...placed].sort((a, b) => rank(a) - rank(b)).map((curve) => draw("path", { class: `line ${kindOf(curve.trial)}`, d: path(curve.at) })),
        ["pruned", "failed"].map((state) => draw("path", { class: `end ${state}`, d: ends(state) }))))],
      find: (px, py) => nearest(placed.flatMap(({ trial, at }) => at.map(([x1, y1]) => ({ trial, x: x1, y: y1 }))), px, py, 22),
      lit: (trial) => placed.filter((curve) => curve.trial === trial).map((curve) => f.inside(draw("path", { class: "lit", d: path(curve.at) }))),
    };
  });
}
