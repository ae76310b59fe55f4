// What a tolerance keeps: curves over the tolerance, and a slider that stops at every one that was computed.

function recipeLine(text) {
  const code = el("code", {}, text);
  const button = el("button", {type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }}, "Copy");
  return {node: el("div", {class: "recipe"}, code, button), set: (now) => (code.textContent = now)};
}

function tradeOffOf(run, t) {
  const steps = t.steps, full = t.before;
  const share = (key) => steps.map((s) => [100 * s.tolerance, (100 * s[key]) / full[key]]);
  const timed = steps.filter((s) => known(s.ms)), whole = full.ms;
  const x = {label: "tolerance %", format: (v) => fixed(v, 1), low: 0};
  const series = [
    {name: "weights", color: color(0), points: share("bytes")},
    {name: "MACs", color: color(1), points: share("macs")},
  ];
  if (whole) series.push({name: "latency", color: color(2), dots: true, points: timed.map((s) => [100 * s.tolerance, (100 * s.ms) / whole])});
  const kept = lineChart({title: `Kept by a tolerance, in % of ${t.from}`, x,
    y: {label: "kept %", format: (v) => `${fixed(v, 1)} %`, zero: true}, series});
  const loss = lineChart({title: "Predicted loss before retraining, in % of the metric", x,
    y: {label: "loss %", format: (v) => `${fixed(v, 1)} %`, zero: true},
    series: [{name: "predicted loss", color: color(3), points: steps.map((s) => [100 * s.tolerance, 100 * s.predicted_loss])}]});
  const bars = channelBars(t.groups.map((g, i) => ({name: g.name, before: g.channels, kept: steps[0].kept[i]})));
  const line = recipeLine("");
  const out = el("dl", {class: "facts", "aria-live": "polite"});
  const slider = el("input", {type: "range", min: 0, max: steps.length - 1, step: 1, id: `tolerance-${t.stage}`});
  const text = el("output", {for: `tolerance-${t.stage}`});
  const curves = run.sensitivities.find((s) => s.stage === t.stage);
  const show = () => {
    const s = steps[slider.value], facts = [];
    text.textContent = `${percent(s.tolerance)} %`;
    slider.setAttribute("aria-valuetext", text.textContent);
    const of = (name, key, units) => {
      const u = unitOf(full[key], units);
      facts.push([name, `${digits3(s[key] / u.scale)} ${u.unit}`, `${percent(s[key] / full[key], 0)} % of ${digits3(full[key] / u.scale)} ${u.unit}`]);
    };
    of("MACs", "macs", kCounts);
    of("parameters", "parameters", kCounts);
    of("weights", "bytes", kBytes);
    if (whole) {
      const near = timed.reduce((a, b) => (Math.abs(b.tolerance - s.tolerance) < Math.abs(a.tolerance - s.tolerance) ? b : a));
      facts.push(["latency", `${digits3(near.ms)} ms`, `${percent(near.ms / whole, 0)} %, measured at ${percent(near.tolerance)} %`]);
    }
    facts.push(["predicted loss", `${percent(s.predicted_loss)} %`, "before retraining"]);
    out.replaceChildren(...facts.map(([k, v, more]) => el("div", {}, el("dt", {}, k), el("dd", {}, v, el("small", {}, more)))));
    bars.set(s.kept);
    line.set(t.line.replace("@", String(s.tolerance)));
    for (const chart of [kept, loss]) if (chart.cursor) chart.cursor(100 * s.tolerance);
    if (curves && curves.show) curves.show(s.tolerance, new Map(t.groups.map((g, i) => [g.name, 1 - s.kept[i] / g.channels])));
  };
  slider.addEventListener("input", show);
  const start = steps.findIndex((s) => s.tolerance >= (t.chosen ?? 0.05));
  slider.value = start < 0 ? steps.length - 1 : start;
  const node = [
    el("div", {class: "charts"}, kept, loss),
    el("div", {class: "slider"}, el("label", {for: `tolerance-${t.stage}`}, "Tolerance: the largest loss of a single group"), text, slider),
    out, line.node, bars.node,
    el("p", {class: "note"}, "Channels, MACs, parameters and weights are those of a prune stage with this line. The predicted loss takes the groups " +
      "as if they did not interact; it is before retraining, which wins most of it back." +
      (whole ? " Latency: median at batch 1 of networks that were cut and timed side by side on the machine that made this report." : ""))];
  show();
  return node;
}

function tradeOff(run) {
  if (!run.tradeoffs.length) return null;
  return section("tradeoff", "Trade-off", "What a tolerance keeps", run.tradeoffs.map((t) => tradeOffOf(run, t)));
}
