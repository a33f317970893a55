// The head, the table, and all of the page in its order.

// --- The head

const MOST = 10; // parameters of the best that stand in the head, those first that matter most

function leftToGain() {
  const asked = [...trials].reverse().find((trial) => has((trial.why || {}).left));
  if (!asked) return el("p", { class: "small" }, "The model has proposed no trial yet.");
  const noise = has(study.noise) && study.noise > 0 ? ` A repeated trial would differ by about ${number(study.noise, 2)}.` : "";
  return [el("p", { class: "big" }, `≤ ${number(asked.why.left, 3)}`),
    el("p", { class: "small" }, `is what the model, when it proposed trial ${asked.trial}, thought might still be gained anywhere: ` +
      `from the best's expected value to the most hopeful one within two standard deviations.${noise}` +
      (study.settled ? " That is too little to go on for." : ""))];
}
function head() {
  const strategy = { model: "Gaussian process", sobol: "quasi-random search", random: "random search" }[about.strategy || "model"] || about.strategy;
  const prune = about.prune && about.prune !== "none" ? `early stopping by ${about.prune === "asha" ? "successive halving" : about.prune}` : "no early stopping";
  const fixed = parameters.filter((parameter) => parameter.constant);
  const made = has(study.created_ms) && study.created_ms > 0 ? new Date(study.created_ms) : null;
  const note = about.note === undefined || about.note === null ? "" :
    typeof about.note === "string" ? about.note : typeof about.note.text === "string" ? about.note.text : JSON.stringify(about.note);
  const from = [about.dataset ? `data set ${about.dataset}${about.dataset_version ? "@" + about.dataset_version : ""}` : "", about.model ? `model ${about.model}` : "",
    about.warm_start ? `begun with what ${about.warm_start} has seen` : ""];
  const lead = [`${maximise ? "Maximises" : "Minimises"} ${objective} over ${many(varying.length, "parameter")}` +
    (fixed.length ? ` (and ${fixed.length} fixed)` : ""), strategy, prune, ...from.filter(Boolean)].join(" · ");
  const order = [...rankedParameters, ...fixed].map((parameter) => parameter.name);
  const params = best ? Object.entries(best.params || {}).sort(([a], [b]) => order.indexOf(a) - order.indexOf(b)) : [];
  const state = study.stopped ? `Stopped: ${study.stopped}` : count.running ? `${many(count.running, "trial")} running` : "No trial is running";
  document.getElementById("head").append(
    el("p", { class: "kicker" }, `Inkling study${made ? ", made " : ""}`,
      made ? el("time", { datetime: made.toISOString() }, made.toLocaleString("en-GB", { dateStyle: "long", timeStyle: "short" })) : ""),
    el("h1", {}, study.study), el("p", { class: "lead" }, lead), note ? el("p", { class: "note" }, note) : "",
    el("div", { class: "facts" },
      el("div", {}, el("h2", {}, `Best ${objective}`),
        el("p", { class: `big${best ? " best" : ""}` }, best ? number(best.value, 5) : "–"),
        el("p", { class: "small" }, best ? `trial ${best.trial}` : "no trial has ended well yet")),
      el("div", {}, el("h2", {}, best ? "Its parameters" : "Parameters"),
        best ? [pairsOf(params.slice(0, MOST).map(([name, value]) => [name, shown(value)]), `pairs${params.length > 5 ? " two" : ""}`),
          params.length > MOST ? el("p", { class: "small" }, `and ${params.length - MOST} more, which matter less`) : ""]
          : el("p", { class: "small" }, list(parameters.map((parameter) => parameter.name)))),
      el("div", {}, el("h2", {}, "Left to gain"), leftToGain())),
    el("div", { class: "facts-states" }),
    el("nav", { "aria-label": "Parts of this page" },
      [...document.querySelectorAll("main > section")].map((section) => el("a", { href: `#${section.id}` }, section.querySelector("h2").textContent))));
  const bar = el("div", { class: "states", "aria-hidden": "true" }, STATES.filter((s) => count[s]).map((s) => el("i", { class: s })));
  [...bar.children].forEach((node) => { node.style.flexGrow = String(count[node.className]); });
  document.querySelector(".facts-states").append(
    el("div", { class: "tally" }, el("p", {}, el("strong", {}, many(trials.length, "trial")), ` · ${state}`), trials.length ? bar : "",
      el("p", { class: "legend" }, STATES.filter((s) => count[s]).map((s) => key(s, `${count[s].toLocaleString("en")} ${s}`)))));
  document.getElementById("foot").append("Written by `inkling study report`. This file needs no network; its figures are in it as JSON.");
}

// --- The table

const ROWS = 100; // at first; a click shows all

const columns = [
  { name: "trial", right: true, of: (t) => t.trial },
  { name: "state", of: (t) => t.state },
  { name: objective, value: true, right: true, of: (t) => t.value },
  ...varying.map(({ name, scale }) => ({ name, right: !scale.words, of: (t) => (t.params || {})[name] })),
  { name: "steps", right: true, of: (t) => t.reports || 0 },
  { name: "proposed", soft: true, of: reasonInShort, title: reasonOf },
  { name: "ended", text: true, of: endOf },
];
let order = { column: columns[0], down: false };
let all = false;
const rowOf = new Map();

function sorted() {
  const { column, down } = order;
  const missing = (v) => v === undefined || v === null || v === "";
  return [...trials].sort((a, b) => {
    const x = column.of(a), y = column.of(b);
    if (missing(x) || missing(y)) return missing(x) - missing(y) || a.trial - b.trial; // those without come last
    const by = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return (down ? -by : by) || a.trial - b.trial;
  });
}
function cell(column, trial) {
  const value = column.of(trial);
  if (column.name === "state" && !column.value)
    return el("td", {}, el("span", { class: "state" }, key(kindOf(trial), "").firstChild, trial.state));
  const names = ["text", "soft", "right", "value"].filter((name) => column[name]).join(" ");
  const text = typeof value === "string" ? value : shown(value);
  return el("td", { class: names || null, title: column.title ? column.title(trial) : null }, column.text ? el("div", { title: text }, text) : text);
}
function row(trial) {
  const node = el("tr", { class: trial === best ? "best" : null }, columns.map((column) => cell(column, trial)));
  node.addEventListener("pointerenter", () => light(trial));
  node.addEventListener("pointerleave", () => light(null));
  rowOf.set(trial, node);
  return node;
}
function table() {
  const host = part("trials", "chart");
  if (trials.length === 0) {
    say("trials", "There are none yet.");
    return;
  }
  say("trials", "A click on a heading sorts by it. A proposal shows what the model expected, plus or minus a standard deviation, and the expected improvement (EI)." + (count.pruned ? " Of pruned trials the value is a guess of where they were going." : ""));
  const body = el("tbody"), more = el("div", { class: "more" });
  const heads = columns.map((column) => el("th", { scope: "col", class: column.right ? "right" : null }, el("button", { type: "button" }, column.name)));
  const show = () => {
    rowOf.clear();
    body.replaceChildren(...(all ? sorted() : sorted().slice(0, ROWS)).map(row));
    heads.forEach((node, i) => node.setAttribute("aria-sort", columns[i] === order.column ? (order.down ? "descending" : "ascending") : "none"));
  };
  heads.forEach((node, i) => node.firstChild.addEventListener("click", () => {
    const again = order.column === columns[i];
    order = { column: columns[i], down: again ? !order.down : columns[i].value ? maximise : false };
    show();
  }));
  if (trials.length > ROWS) {
    const button = el("button", { type: "button" }, `Show all ${trials.length.toLocaleString("en")} trials`);
    button.addEventListener("click", () => { all = true; more.remove(); show(); });
    more.append(button);
  }
  host.append(el("table", {}, el("thead", {}, el("tr", {}, heads)), body));
  host.after(more);
  show();
  let lit = null;
  lights.push((trial) => {
    if (lit) lit.classList.remove("lit-row");
    lit = (trial && rowOf.get(trial)) || null;
    if (lit) lit.classList.add("lit-row");
  });
  window.addEventListener("beforeprint", () => { if (!all) { all = true; more.remove(); show(); } });
}

head();
historyPlot();
curvesPlot();
importanceChart();
slicesPlots();
parallelPlot();
table();
