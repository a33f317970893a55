// The study, and what the charts share: elements, numbers, scales, axes, and the trial that the reader points at.
const study = JSON.parse(document.getElementById("study").textContent);
const about = study.about || {};
const trials = study.trials || [];
const maximise = about.direction === "maximise";
const objective = typeof about.objective === "string" ? about.objective : "value";
const best = trials.find((trial) => trial.trial === study.best);
const STATES = ["done", "pruned", "failed", "running", "forgotten"];
const count = Object.fromEntries(STATES.map((state) => [state, trials.filter((trial) => trial.state === state).length]));
const has = (value) => typeof value === "number" && Number.isFinite(value);
const valued = trials.filter((trial) => has(trial.value));
const better = (a, b) => (maximise ? a > b : a < b);

// --- Elements. Texts of users become text nodes and nothing else.

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const part = (section, which) => document.querySelector(`#${section} > .${which}`);
const say = (section, text) => part(section, "about").append(text);

// --- Numbers and words

function number(value, digits = 4) {
  if (!has(value)) return "–";
  const size = Math.abs(value);
  let text;
  if (size === 0 || (Number.isInteger(value) && size < 1e6)) text = String(value);
  else if (size >= 1e-3 && size < 1e6) text = String(Number(value.toPrecision(digits)));
  else text = value.toExponential(Math.min(2, digits - 1)).replace(/\.?0+e/, "e").replace("e+", "e");
  return text.replace(/-/g, "−");
}
const shown = (value) => (value === undefined || value === null ? "–" : typeof value === "number" ? number(value) : String(value));
const many = (n, one, more) => `${n.toLocaleString("en")} ${n === 1 ? one : more || one + "s"}`;
const list = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);

// Why a trial was proposed, and why one ended before its time; in full, and in short for the table.
function reasonOf(trial) {
  const why = trial.why || {};
  const words = {
    default: "The parameters’ defaults.", start: "Spread over the space, before there was a model.",
    earlier: "Good in the study that this one began with.", drawn: "Drawn without the model.",
    model: why.exploring ? "Exploring, where the model knew little:" : "Exploiting what the model knew:", replicate: "The best again, to be surer of it:",
  };
  const first = words[why.kind] || why.kind || "";
  return has(why.mean) ? `${first} it expected ${number(why.mean)} ± ${number(why.sd, 2)}, and an improvement of ${number(why.gain, 2)}.` : first.replace(/:$/, ".");
}
function reasonInShort(trial) {
  const why = trial.why || {};
  const first = why.kind === "model" ? (why.exploring ? "exploring" : "exploiting") : why.kind || "";
  return has(why.mean) ? `${first}: ${number(why.mean)} ± ${number(why.sd, 2)}, EI ${number(why.gain, 2)}` : first;
}
function endOf(trial) {
  const stop = trial.stopped;
  const parts = [];
  if (stop) {
    parts.push(`${trial.state === "pruned" ? "stopped" : "was to stop"} at step ${stop.step}` +
      (stop.of > 0 ? `: rank ${stop.rank} of ${stop.of}` : ""));
  } else if (trial.state === "pruned") {
    parts.push("stopped by its owner");
  }
  if (trial.reason) parts.push(trial.reason);
  return parts.join("; ");
}

// --- Scales: from a value to [0, 1], and ticks

function linearTicks(lo, hi, most) {
  const raw = (hi - lo) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw * 0.999) || raw;
  if (!(step > 0 && step < Infinity)) return [];
  // Counted beforehand: of numbers so large that the next is the same a loop over them has no end.
  const first = Math.ceil(lo / step - 1e-9), last = Math.floor(hi / step + 1e-9);
  return Array.from({ length: Math.max(0, Math.min(most + 1, last - first + 1)) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}
function logTicks(lo, hi, most) {
  const first = Math.ceil(Math.log10(lo) - 1e-9), last = Math.floor(Math.log10(hi) + 1e-9);
  const stride = Math.max(1, Math.ceil((last - first + 1) / Math.max(1, most)));
  const ticks = [];
  for (let power = first; power <= last; power += stride) ticks.push(10 ** power);
  if (ticks.length >= 2) return ticks;
  const fine = [];
  for (let power = first - 1; power <= last; power++) for (const k of [1, 2, 3, 5]) fine.push(Number((k * 10 ** power).toPrecision(3)));
  const inside = fine.filter((value) => value >= lo * 0.999 && value <= hi * 1.001);
  return inside.length > most ? inside.filter((_, i) => i % Math.ceil(inside.length / most) === 0) : inside;
}
const SAME = 1e-11; // of two numbers: what no axis can show apart
function scaleOf(lo, hi, { log = false, whole = false } = {}) {
  if (!(hi - lo > SAME * Math.max(Math.abs(lo), Math.abs(hi)))) {
    const pad = Math.abs(lo) * 0.1 || 1;
    return scaleOf(log ? lo / 2 : lo - pad, log ? hi * 2 : hi + pad, { log });
  }
  const f = log ? Math.log : (x) => x;
  const from = f(lo), span = f(hi) - f(lo);
  return {
    lo, hi, log,
    at: (value) => Math.min(1, Math.max(0, (f(value) - from) / span)), // what is beyond lies at the edge
    raw: (value) => (log && value <= 0 ? -1 : (f(value) - from) / span),
    beyond: (value) => value > hi || value < lo,
    ticks: (most) => (log ? logTicks(lo, hi, most) : linearTicks(lo, hi, most)).filter((v) => !whole || Number.isInteger(v))
      .map((value) => ({ at: (f(value) - from) / span, text: number(value) })),
  };
}
function wordScale(words) {
  const at = (word) => (words.indexOf(word) + 0.5) / words.length;
  return { words, at, raw: at, beyond: () => false, ticks: () => words.map((word) => ({ at: at(word), text: word })) };
}
// Of values of the objective. A few that are far worse than the others would flatten all the rest: the scale ends before them.
function valueScale(values, pad = 0.06) {
  if (values.length === 0) return scaleOf(0, 1);
  const sorted = [...values].sort((a, b) => (maximise ? b - a : a - b)); // the best first
  const top = sorted[0], most = sorted[Math.floor((sorted.length - 1) * 0.85)], last = sorted.at(-1);
  const limit = top + 1.6 * (most - top);
  const end = most !== top && better(limit, last) ? limit : last;
  if (!maximise && top > 0 && end / top > 100) return scaleOf(top / 1.2, end * (end === last ? 1.2 : 1), { log: true });
  const room = pad * Math.abs(end - top) || Math.abs(top) * 0.05 || 0.5;
  const outer = end === last ? room : 0;
  return maximise ? scaleOf(end - outer, top + room) : scaleOf(top - room, end + outer);
}

// --- The parameters, from their definitions; what the trials have beyond those counts too

function parameterOf(text) {
  const match = /^\s*([^=\s]+)\s*=\s*(.*?)\s*(?:\bif\s+([^=\s]+)\s*=\s*(\S+)\s*)?$/.exec(text) || [text, text, ""];
  const [, name, range, parent, choices] = match;
  const own = trials.map((trial) => (trial.params || {})[name]).filter((value) => value !== undefined && value !== null);
  const words = /^\{([^}]*)\}/.exec(range);
  const span = /^(log|int|logint)?:?\s*([-+.\deE]+?)\.\.([-+.\deE]+?)(?:=|$)/.exec(range);
  const parameter = { name, text: text.trim(), condition: parent ? `${parent} is ${choices.split("|").join(" or ")}` : "", constant: false };
  if (words || own.some((value) => typeof value === "string")) {
    const all = words ? words[1].split(",").map((word) => word.trim()) : [];
    parameter.scale = wordScale([...new Set([...all, ...own.map(String)])]);
    return parameter;
  }
  const kind = span ? span[1] || "" : "";
  const ends = (span ? [Number(span[2]), Number(span[3])] : []).concat(own).filter(has);
  const lo = ends.reduce((a, b) => Math.min(a, b), Infinity), hi = ends.reduce((a, b) => Math.max(a, b), -Infinity);
  parameter.constant = !span && lo === hi;
  const log = kind.startsWith("log") && lo > 0;
  parameter.scale = ends.length ? scaleOf(lo, hi, { log, whole: kind.endsWith("int") }) : scaleOf(0, 1);
  return parameter;
}
const parameters = ((study.space || []).length > 0 ? study.space : about.space || []).map(parameterOf);
const varying = parameters.filter((parameter) => !parameter.constant);
const shareOf = (name) => ((study.importance || {})[name] || {});

// --- Marks: one path holds all of a state

const SHAPES = {
  done: (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  best: (x, y, r) => SHAPES.done(x, y, r * 1.7),
  pruned: (x, y, r) => `M${x - r} ${y - r * 0.8}h${2 * r}l${-r} ${1.7 * r}z`,
  failed: (x, y, r) => `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`,
  running: (x, y, r) => SHAPES.done(x, y, r),
  forgotten: (x, y, r) => `M${x - r} ${y}h${2 * r}`,
};
const round = (x) => Math.round(x * 10) / 10;
const kindOf = (trial) => (trial === best ? "best" : trial.state);
const KINDS = [...STATES].reverse().concat("best"); // the last ones are drawn above the others
function marks(points, size = 3) {
  return KINDS.map((kind) => {
    const own = points.filter((p) => kindOf(p.trial) === kind), at = (p) => [round(p.x), round(p.y)];
    if (own.length === 0) return null;
    const out = own.filter((p) => p.beyond).map((p) => `M${round(p.x - 2.5)} ${round(p.y + p.beyond * (size + 3))}l2.5 ${2.5 * p.beyond}l2.5 ${-2.5 * p.beyond}`).join("");
    return [out ? draw("path", { class: `stem ${kind}`, d: out }) : null,
      draw("path", { class: `mark ${kind}`, d: own.map((p) => SHAPES[kind](...at(p), size)).join("") })];
  });
}
function key(kind, text) {
  return el("span", {}, draw("svg", { width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" },
    draw("path", { class: `mark ${kind}`, d: SHAPES[kind](6, 6, 3.4) })), text);
}
function lineKey(name, text) {
  return el("span", {}, draw("svg", { width: 20, height: 12, "aria-hidden": "true" },
    draw("path", { class: name, d: "M1 6h18" })), text);
}
