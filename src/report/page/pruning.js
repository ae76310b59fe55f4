// What each group of channels can spare, and what was cut.

/// Small curves, one a group: loss against the share removed. Returns {node, at(tolerance, ratios)}.
function sensitivityCurves(s) {
  const top = Math.max(0.05, Math.min(s.stop_loss || 1, largestOf(s.groups.flatMap((g) => g.points.map((p) => p.loss)))));
  const w = 150, h = 84, left = 6, bottom = 14;
  const x = (ratio) => left + ratio * (w - left - 2), y = (loss) => 4 + (1 - Math.max(0, Math.min(top, loss)) / top) * (h - bottom - 4);
  const cells = s.groups.map((g) => {
    const points = [{ratio: 0, loss: 0}, ...g.points];
    const line = svg("line", {class: "cursor", x1: x(0), x2: x(1), y1: -9, y2: -9});
    const dot = svg("circle", {class: "chosen", r: 4, cx: -9, cy: -9});
    const last = points[points.length - 1];
    // What the metric's interval says of the loss; older files have none.
    const band = g.points.filter((p) => known(p.low) && known(p.high));
    const edge = (list, key) => list.map((p) => `${x(p.ratio).toFixed(1)} ${y((s.baseline - p[key]) / s.baseline).toFixed(1)}`);
    const node = svg("svg", {viewBox: `0 0 ${w} ${h}`, role: "img", tabindex: "0",
      "aria-label": `${g.name}: ` + g.points.map((p) => `${percent(p.ratio, 0)} % removed lose ${percent(p.loss)} %`).join(", ")},
      svg("line", {class: "axis", x1: x(0), x2: x(1), y1: y(0), y2: y(0)}),
      band.length > 1 ? svg("path", {class: "band", fill: color(0), d: "M" + [...edge(band, "high"), ...edge([...band].reverse(), "low")].join("L") + "Z"}) : null,
      svg("path", {class: "line", stroke: color(0), d: "M" + points.map((p) => `${x(p.ratio).toFixed(1)} ${y(p.loss).toFixed(1)}`).join("L")}),
      points.slice(1).map((p) => svg("circle", {cx: x(p.ratio), cy: y(p.loss), r: 1.8, fill: color(0)})),
      line, dot,
      svg("text", {x: x(0), y: h - 2}, "0"), svg("text", {x: x(1), y: h - 2, "text-anchor": "end"}, "100 %"),
      last.loss >= top && last.ratio < 0.7 ? svg("text", {x: x(last.ratio) + 5, y: 12}, `${percent(last.loss, 0)} %`) : null);
    const lines = () => [`${g.name}, ${g.channels} channels`, ...g.points.map((p) =>
      `${percent(p.ratio, 0)} % removed: ${s.metric} ${percent(p.metric)} %${known(p.low) ? ` (${percent(p.low)}\u2013${percent(p.high)})` : ""}, loses ${percent(p.loss)} %`),
      `${(g.members || []).length} tensors: ` + (g.members || []).slice(0, 4).map((m) => `${m.parameter} (${m.role})`).join(", ") +
        ((g.members || []).length > 4 ? " \u2026" : "")];
    return {g, line, dot, points, node: el("div", {class: "small"}, el("div", {class: "smallhead"}, pathName(g.name),
      el("span", {class: "muted"}, grouped(g.channels))), withTip(node, lines))};
  });
  const grid = roving(el("div", {class: s.groups.some((g) => g.name.length > 16) ? "smalls tall" : "smalls"}, cells.map((c) => c.node)));
  // A group's sensitivity in one number: what half of its channels are worth.
  const half = (c) => {
    let before = c.points[0];
    for (const p of c.points) {
      if (p.ratio >= 0.5) return before === p ? p.loss : before.loss + (p.loss - before.loss) * (0.5 - before.ratio) / (p.ratio - before.ratio);
      before = p;
    }
    return before.loss + (0.5 - before.ratio);
  };
  const order = choice("order", ["network", "least sensitive first"], (o) =>
    grid.replaceChildren(...(o === "network" ? cells : [...cells].sort((a, b) => half(a) - half(b))).map((c) => c.node)));
  const at = (tolerance, ratios) => cells.forEach((c) => {
    c.line.setAttribute("y1", y(tolerance));
    c.line.setAttribute("y2", y(tolerance));
    const ratio = ratios.get(c.g.name);
    c.dot.setAttribute("cx", known(ratio) ? x(ratio) : -9);
    c.dot.setAttribute("cy", known(ratio) ? y(Math.min(tolerance, top)) : -9);
    c.dot.classList.toggle("none", !ratio);
  });
  return {node: [order, grid], at, top};
}

function sensitivityTable(s) {
  const ratios = s.ratios || [...new Set(s.groups.flatMap((g) => g.points.map((p) => p.ratio)))].sort((a, b) => a - b);
  return el("details", {}, el("summary", {}, "The same as numbers"), table([
    {title: "group", text: true, cell: (g) => g.name}, {title: "channels", cell: (g) => grouped(g.channels)},
    ...ratios.map((r) => ({title: `${percent(r, 0)} %`, unit: "removed", cell: (g) => {
      const p = g.points.find((q) => Math.abs(q.ratio - r) < 1e-9);
      return p ? percent(p.loss) : "\u2013";
    }})),
  ], s.groups, "numbers"));
}

function sensitivity(run) {
  if (!run.sensitivities.length) return null;
  return section("sensitivity", "Sensitivity", "Sensitivity of every group", run.sensitivities.map((s) => {
    const curves = sensitivityCurves(s.file);
    s.show = curves.at;
    return [el("p", {class: "note"},
      `Loss of ${s.file.metric} as a share of its ${percent(s.file.baseline)} % (0 to ${percent(curves.top, 0)} %, upwards) against the share of channels removed, ` +
      `least by ${s.file.criterion} first; one group of tied channels at a time, on ${grouped(s.file.samples)} images (stage ${s.stage}).` +
      (s.file.groups.some((g) => g.points.some((p) => known(p.low))) ? " The band: the metric's 95 % interval." : "") +
      (run.tradeoffs.some((t) => t.stage === s.stage) ? " Dashed: the tolerance chosen below; the dot: what it would remove." : "")),
      curves.node, sensitivityTable(s.file)];
  }));
}

/// Rows of bars: kept of all channels. `rows` are {name, before, kept, text, lines}. Returns {node, set(kept)}.
function channelBars(rows) {
  const bars = rows.map((r) => {
    const inner = el("i", {}), count = el("span", {class: "count"});
    const node = el("div", {class: "bar", tabindex: "0"}, pathName(r.name), el("span", {class: "track"}, inner), count);
    const set = (kept) => {
      r.kept = kept;
      inner.style.width = `${(100 * kept) / r.before}%`;
      count.textContent = `${kept} of ${r.before}`;
      node.classList.toggle("whole", kept === r.before);
    };
    set(r.kept);
    return {set, node: withTip(node, () => [r.name, `${r.kept} of ${r.before} channels kept, ${percent(1 - r.kept / r.before)} % removed`, ...(r.lines ? r.lines() : [])])};
  });
  return {node: roving(el("div", {class: "bars"}, bars.map((b) => b.node))), set: (kept) => bars.forEach((b, i) => b.set(kept[i]))};
}

function cuts(run) {
  if (!run.cuts.length) return null;
  const place = el("div", {});
  const kReasons = {sensitive: "whole: too sensitive", excluded: "whole: excluded", narrow: "whole: narrow", "not measured": "whole: not measured"};
  const show = (name) => {
    const cut = run.cuts.find((c) => c.stage === name);
    const rows = cut.groups.map((g) => ({name: g.name, before: g.channels_before, kept: g.channels_after, lines: () => [
      g.reason ? kReasons[g.reason] || `whole: ${g.reason}` : `alone it loses ${percent(g.predicted_loss)} % by its curve`,
      ...(g.members || []).slice(0, 6)]}));
    const {before, after} = cut, share = (key) => `${percent(after[key] / before[key], 0)} %`;
    const facts = [["MACs kept", share("macs")], ["parameters kept", share("parameters")], ["bytes kept", share("bytes")]];
    if (known(after.latency_ms) && known(before.latency_ms)) facts.push(["latency kept", share("latency_ms")]);
    if (cut.rule) facts.push(["chosen by", cut.rule]);
    if (known(cut.tolerance)) facts.push(["tolerance", `${percent(cut.tolerance)} %`]);
    if (known(cut.predicted_loss)) facts.push(["predicted loss", `${percent(cut.predicted_loss, 0)} %`]);
    if (known(cut.metric_before_recalibration)) facts.push([`${run.result.metric} before recalibration`, `${percent(cut.metric_before_recalibration)} %`]);
    if (known(cut.metric_after_recalibration)) facts.push([`${run.result.metric} after recalibration`, `${percent(cut.metric_after_recalibration)} %`]);
    else if (known(cut.value)) facts.push([`${run.result.metric} before retraining`, `${percent(cut.value)} %`]);
    place.replaceChildren(el("dl", {class: "facts"}, facts.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v)))), channelBars(rows).node);
  };
  return section("channels", "Channels", "Channels before and after",
    el("p", {class: "note"}, "A bar is a group of tied channels; the filled part is kept."),
    choice("stage", run.cuts.map((c) => c.stage), show), place);
}
