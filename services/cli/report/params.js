// What the parameters do: their shares, one at a time, all together.
const rankedParameters = [...varying].sort((a, b) => (shareOf(b.name).total || 0) - (shareOf(a.name).total || 0));

// --- Importance

function importanceChart() {
  const host = part("importance", "chart");
  if (!study.importance || Object.keys(study.importance).length === 0) {
    say("importance", "There is no model yet: too few trials have ended.");
    return;
  }
  const rests = [[count.done, "that ran to their end"], [count.pruned, "stopped early, by what they were going to have"],
    [count.failed, "failed, as bad values"]].filter(([n]) => n > 0).map(([n, words]) => `${n.toLocaleString("en")} ${words}`);
  say("importance", `How much of the model’s variance over the whole space each parameter accounts for, alone and with all it interacts with. ` +
    `It rests on ${many(count.done + count.pruned + count.failed, "trial")}: ${list(rests)}.`);
  const ended = count.done + count.pruned + count.failed;
  if (study.rests > 0 && study.rests < ended) say("importance", ` Of these it looks at ${study.rests}: the best, and a sample of the others.`);
  if (about.warm_start) say("importance", ` It began with what the study ${about.warm_start} had seen; some twenty trials on, its own alone count.`);
  const percent = (share) => (share >= 0.005 ? `${Math.round(100 * share)} %` : "< 1 %");
  const width = (share) => `${Math.min(100, 100 * Math.max(0, share || 0)).toFixed(1)}%`;
  const rows = rankedParameters.filter((parameter) => has(shareOf(parameter.name).total)).map(({ name }) => {
    const { main, total } = shareOf(name);
    const bar = el("div", { class: "bar", "aria-hidden": "true" }, el("i", { class: "total" }), el("i", { class: "main" }));
    bar.children[0].style.width = width(Math.max(main, total));
    bar.children[1].style.width = width(main);
    return [el("div", { title: name }, name), bar, el("div", { class: "figure" }, percent(main)), el("div", { class: "figure" }, percent(Math.max(main, total)))];
  });
  const cap = (kind, text) => el("div", { class: "cap figure" }, kind ? el("i", { class: `swatch ${kind}`, "aria-hidden": "true" }) : null, text);
  host.append(el("div", { class: "shares" }, cap("", ""), cap("", ""), cap("main", "alone"), cap("total", "in all"), ...rows));
}

// --- Slices

const jitter = (trial) => ((trial.trial * 0.618034) % 1) - 0.5; // marks of one word side by side

function slicePlot(parameter, y) {
  const own = valued.filter((trial) => trial.params && trial.params[parameter.name] !== undefined && trial.params[parameter.name] !== null);
  const slice = ((study.slices || {}).parameters || {})[parameter.name];
  const host = el("div", { class: "plot" });
  const total = shareOf(parameter.name).total;
  const figure = el("figure", {}, el("figcaption", {}, el("h3", { title: parameter.text }, parameter.name),
    el("span", {}, [parameter.condition ? `if ${parameter.condition}` : "", has(total) && total >= 0.005 ? `${Math.round(100 * total)} %` : ""]
      .filter(Boolean).join(" · "))), host);
  part("slices", "chart").append(figure);
  const words = parameter.scale.words;
  plot(host, `${objective} by ${parameter.name}: ${own.length} trials and the model's mean and band`, (width) => {
    const height = 190, f = frame(width, height, parameter.scale, y, { left: 46, right: 8, xTicks: 4, yTicks: 4, bottom: 24 });
    const spread = words ? (f.w / words.length) * 0.5 : 0;
    const points = own.map((trial) => f.mark(trial, f.x(trial.params[parameter.name]) + spread * jitter(trial), trial.value));
    const nodes = [...f.nodes];
    const at = slice ? slice.at.map((v, i) => ({ v, mean: slice.mean[i], sd: slice.sd[i] })).filter(({ mean, sd }) => has(mean) && has(sd)) : [];
    if (words) {
      for (const { v, mean, sd } of at) {
        const x0 = f.x(v), half = spread / 2 + 4;
        nodes.push(f.inside(draw("rect", { class: "band", x: round(x0 - half), width: round(2 * half), y: round(f.line(mean + 2 * sd)),
          height: Math.max(0.5, round(f.line(mean - 2 * sd) - f.line(mean + 2 * sd))) }),
        draw("path", { class: "mean", d: `M${round(x0 - half)} ${round(f.line(mean))}h${round(2 * half)}` })));
      }
    } else if (at.length > 1) {
      const edge = (sign) => at.map(({ v, mean, sd }) => `${round(f.x(v))} ${round(f.line(mean + sign * 2 * sd))}`);
      nodes.push(f.inside(draw("path", { class: "band", d: `M${edge(1).join("L")}L${edge(-1).reverse().join("L")}z` }),
        draw("path", { class: "mean", d: `M${at.map(({ v, mean }) => `${round(f.x(v))} ${round(f.line(mean))}`).join("L")}` })));
    }
    nodes.push(draw("g", { class: "dim" }, marks(points, own.length > 300 ? 1.7 : 2.3)));
    return {
      height, nodes,
      find: (px, py) => nearest(points, px, py, 20),
      lit: (trial) => points.filter((point) => point.trial === trial).map((point) => ring(point.x, point.y)),
    };
  });
}

function slicesPlots() {
  const from = study.slices && trials.find((trial) => trial.trial === study.slices.trial);
  if (valued.length === 0 || varying.length === 0) {
    say("slices", "There is nothing to draw yet.");
    return;
  }
  say("slices", from ?
    `What the model expects, with a band of two standard deviations, where one parameter varies and the others are as in trial ${from.trial}. ` +
    "The marks are trials, whose other parameters differ: they need not lie in the band. The share of the variance stands beside the name." : "Trials by one parameter at a time. There is no model yet.");
  part("slices", "legend").append(from ? lineKey("mean", "expected") : "", ...["done", "pruned"].filter((s) => count[s]).map((s) => key(s, s)),
    best ? key("best", "best") : "");
  const y = valueScale(valued.map((trial) => trial.value));
  rankedParameters.forEach((parameter) => slicePlot(parameter, y));
}

// --- Parallel coordinates

// Better ones stand out: by fifths of their rank.
function fifths() {
  const sorted = trials.filter((trial) => trial.state === "done" && has(trial.value)).sort((a, b) => (better(a.value, b.value) ? -1 : 1));
  return new Map(sorted.map((trial, i) => [trial, 4 - Math.floor((5 * i) / sorted.length)]));
}
function axisNodes(name, x, scale, top, bottom, lane) {
  const y = (at) => round(bottom - at * (bottom - top));
  const label = name.length > 16 ? `${name.slice(0, 15)}…` : name;
  return [
    draw("line", { class: "axis strong", x1: x, x2: x, y1: top, y2: bottom }),
    draw("text", { class: "name", x, y: top - 14, "text-anchor": "middle" }, draw("title", {}, name), label),
    ...scale.ticks(5).map((tick) => draw("text", { x: x + 6, y: y(tick.at) + 4, class: "tick" }, tick.text)),
    lane ? draw("text", { class: "lane", x: x + 6, y: lane + 4 }, "none") : null,
  ];
}
function parallelPlot() {
  if (trials.length === 0 || varying.length === 0) {
    say("parallel", "There is nothing to draw yet.");
    return;
  }
  const place = fifths();
  const shownTrials = trials.filter((trial) => trial.state !== "forgotten");
  const axes = [...varying.map((parameter) => ({ name: parameter.name, scale: parameter.scale, of: (trial) => (trial.params || {})[parameter.name] })),
    { name: objective, scale: valueScale(valued.map((trial) => trial.value)), of: (trial) => trial.value }];
  const lacks = axes.map((axis) => shownTrials.some((trial) => axis.of(trial) === undefined || axis.of(trial) === null));
  const lanes = lacks.some(Boolean);
  say("parallel", `Each line is a trial, from its parameters on the left to its ${objective} on the right.` +
    (lanes ? " At the bottom are values that there are not: parameters that do not apply, and trials without a value." : ""));
  part("parallel", "legend").append(el("span", {}, "worst", el("i", { class: "ramp", "aria-hidden": "true" }), "best fifth"),
    best ? lineKey("line best", "best") : "", ...["pruned", "failed", "running"].filter((s) => count[s]).map((s) => lineKey(`line ${s}`, s)));
  plot(part("parallel", "chart"), `Parameters and values of ${shownTrials.length} trials`, (hostWidth) => {
    const gap = Math.max(hostWidth < 520 ? 84 : 96, (hostWidth - 110) / (axes.length - 1)), left = 44;
    const width = Math.max(hostWidth, Math.ceil(left + gap * (axes.length - 1) + 66)), height = 380, top = 40;
    const bottom = height - (lanes ? 44 : 14), lane = lanes ? height - 16 : 0;
    const pathOf = (trial) => axes.map((axis, i) => {
      const value = axis.of(trial), none = value === undefined || value === null;
      return [round(left + gap * i), round(none ? lane : bottom - axis.scale.at(axis.scale.words ? String(value) : value) * (bottom - top))];
    });
    const lines = shownTrials.map((trial) => ({ trial, at: pathOf(trial) }));
    const kind = ({ trial }) => (trial === best ? "line best" : place.has(trial) ? `q q${place.get(trial)}` : `line ${trial.state}`);
    const rank = (line) => (line.trial === best ? 9 : place.has(line.trial) ? place.get(line.trial) : ["failed", "pruned", "running"].indexOf(line.trial.state) - 3);
    const path = (at) => `M${at.map((p) => p.join(" ")).join("L")}`;
    return {
      width, height,
      nodes: [draw("g", { class: density(lines.length) },
        [...lines].sort((a, b) => rank(a) - rank(b)).map((line) => draw("path", { class: kind(line), d: path(line.at) }))),
      ...axes.flatMap((axis, i) => axisNodes(axis.name, round(left + gap * i), axis.scale, top, bottom, lacks[i] ? lane : 0))],
      find: (px, py) => {
        const i = Math.min(axes.length - 2, Math.max(0, Math.floor((px - left) / gap))), part = (px - left - gap * i) / gap;
        let found = null, least = 14;
        for (const { trial, at } of lines) {
          const off = Math.abs(at[i][1] + part * (at[i + 1][1] - at[i][1]) - py);
          if (off < least) [found, least] = [trial, off];
        }
        return found;
      },
      lit: (trial) => lines.filter((line) => line.trial === trial).map((line) => draw("path", { class: "lit", d: path(line.at) })),
    };
  });
}
