// The head of the page, what variants cost and are worth, and what the recipe expects of them.

const several = data.runs.length > 1;

/// What a list of budgets made: of ours_70 and ours_40 it is "ours"; a variant without such kin is its own family.
function familyOf(name, names) {
  const stem = name.replace(/_\d+$/, "");
  const kin = names.filter((n) => n !== stem && n.replace(/_\d+$/, "") === stem);
  return kin.length > 1 ? stem : name;
}

/// Every variant of every run, in order: {run, name, v, family, color, mark, title}. The colour is the family's, or the
/// run's where there are several.
const variants = data.runs.flatMap((run, r) => {
  const names = Object.keys(run.result.variants), families = [...new Set(names.map((name) => familyOf(name, names)))];
  return Object.entries(run.result.variants).map(([name, v]) => {
    const family = families.indexOf(familyOf(name, names));
    return {run, name, v, family: `${r} ${family}`, color: color(several ? r : family), mark: family,
      title: several ? `${run.name} \u00b7 ${name}` : name};
  });
});

/// Which colour is which run; null for one run.
const runLegend = several ? data.runs.map((run, r) => ({name: run.name, color: color(r)})) : null;

const memoryOf = (v) => (known(v.arena_bytes) ? v.arena_bytes + (v.packed_bytes || 0) : null);

function headOfRun(run) {
  const r = run.result;
  const facts = [
    ["task", r.task], ["metric", r.metric],
    ["machine", `${r.processor || r.device}, ${r.threads} threads, ${r.device}`],
    ["seed", String(r.seed)], ["espalier", r.version],
  ];
  return el("dl", {class: "facts"}, facts.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v))));
}

/// "pruned needs 40 % of the MACs, 14 % of the bytes and 61 % of the time of baseline, for 2.9 points of top1."
function findings(run) {
  const lines = [];
  for (const [name, v] of Object.entries(run.result.variants)) {
    const base = run.result.variants[v.source];
    if (!base || !v.val || !base.val) continue;
    const parts = [];
    for (const [key, words] of [["macs", "of the MACs"], ["bytes", "of the bytes"]])
      if (v[key] / base[key] < 0.995) parts.push(`${percent(v[key] / base[key], 0)} % ${words}`);
    if (v.latency_ms && base.latency_ms)
      parts.push(`${percent(v.latency_ms.median / base.latency_ms.median, 0)} % of the time`);
    if (parts.length < 2) continue;
    const points = 100 * (v.val.value - base.val.value);
    const inside = v.val.value >= base.val.low && v.val.value <= base.val.high;
    lines.push(el("li", {}, el("b", {}, name), ` takes ${parts.slice(0, -1).join(", ")} and ${parts[parts.length - 1]} of ${v.source}; ${run.result.metric} `,
      el("b", {}, `${points >= 0 ? "+" : ""}${fixed(points, 1)} points`),
      inside ? ", inside its 95 % interval" : ", outside its 95 % interval"));
  }
  return lines.length ? el("ul", {class: "findings"}, lines) : null;
}

function tradeOffOfVariants() {
  const metric = data.runs[0].result.metric;
  const points = (value, text) => variants.filter(({v}) => v.val && known(v.val.value) && known(value(v))).map((e) => ({
    x: value(e.v), y: 100 * e.v.val.value, low: 100 * e.v.val.low, high: 100 * e.v.val.high, name: e.name,
    color: e.color, mark: e.mark, family: e.family,
    lines: [e.title, `${metric} ${percent(e.v.val.value)} % (${percent(e.v.val.low)}\u2013${percent(e.v.val.high)})`, text(e.v)],
  }));
  const place = el("div", {});
  const axes = {};
  const add = (name, value, units, suffix) => {
    const u = unitOf(largestOf(variants.map(({v}) => value(v) || 0)), units), unit = (u.unit + suffix).trim();
    const shown = points((v) => (known(value(v)) ? value(v) / u.scale : null), (v) => `${digits3(value(v) / u.scale)} ${unit}`);
    if (shown.length) axes[name] = {shown, label: `${name} (${unit})`};
  };
  add("latency", (v) => v.latency_ms && v.latency_ms.median, [[1, "ms"]], "");
  add("MACs", (v) => v.macs, kCounts, "");
  add("file", (v) => v.bytes, kBytes, "");
  if (!Object.keys(axes).length) return null;
  const pick = choice("against", Object.keys(axes), (name) => place.replaceChildren(pointChart({
    title: `${metric} in % (bars: 95 % interval) against ${axes[name].label}; up and to the left is better`,
    x: {label: axes[name].label}, y: {label: `${metric} %`},
    points: axes[name].shown, legend: runLegend,
  })));
  return el("div", {}, pick, place);
}

function variantTable() {
  const metric = data.runs[0].result.metric, all = variants.map((e) => e.v);
  const bytes = unitOf(largestOf(all.map((v) => v.bytes)), kBytes), macs = unitOf(largestOf(all.map((v) => v.macs)), kCounts);
  const memory = unitOf(largestOf(all.map(memoryOf)), kBytes), parameters = unitOf(largestOf(all.map((v) => v.parameters)), kCounts);
  const first = {};
  for (const run of data.runs) first[run.name] = Object.values(run.result.variants)[0];
  const share = (e, key) => el("span", {class: "share"}, `${percent(e.v[key] / first[e.run.name][key], 0)} %`);
  const columns = [
    {title: "variant", cell: (e) => [el("i", {class: "dot", style: `background:${e.color}`}), e.title]},
    {title: metric, unit: "% val", cell: (e) => (e.v.val ? el("b", {}, percent(e.v.val.value)) : "\u2013")},
    {title: "95 % interval", unit: "%", cell: (e) => (e.v.val ? `${percent(e.v.val.low)}\u2013${percent(e.v.val.high)}` : "\u2013")},
  ];
  if (all.some((v) => v.test)) columns.push({title: metric, unit: "% test", cell: (e) => (e.v.test ? percent(e.v.test.value) : "\u2013")});
  columns.push(
    {title: "parameters", unit: parameters.unit, cell: (e) => [digits3(e.v.parameters / parameters.scale), share(e, "parameters")]},
    {title: "file", unit: bytes.unit, cell: (e) => [digits3(e.v.bytes / bytes.scale), share(e, "bytes")]},
    {title: "MACs", unit: macs.unit, cell: (e) => [digits3(e.v.macs / macs.scale), share(e, "macs")]});
  if (all.some((v) => v.latency_ms)) {
    const ms = (v, key) => (v.latency_ms ? fixed(v.latency_ms[key], v.latency_ms.median < 1 ? 3 : v.latency_ms.median < 10 ? 2 : 1) : "\u2013");
    columns.push({title: "latency", unit: "ms, median", cell: (e) => ms(e.v, "median")},
      {title: "p95", unit: "ms", cell: (e) => ms(e.v, "p95")},
      {title: "throughput", unit: "images/s", cell: (e) => digits3(e.v.images_per_second)},
      {title: "peak memory", unit: memory.unit, cell: (e) => digits3(memoryOf(e.v) / memory.scale)});
  }
  const batches = [...new Set(data.runs.map((run) => run.result.throughput_batch))].join(", ");
  const images = [...new Set(all.filter((v) => v.val).map((v) => v.val.samples))].join(", ");
  const note = `Grey: share of the run's first variant. ${metric} on ${images} images. Latency at batch 1, throughput at batch ${batches}; ` +
    "peak memory of inference at batch 1: activations and packed weights.";
  return [table(columns, variants, "variants"), el("p", {class: "note"}, note)];
}

/// The bounds of the recipe, and whether they hold.
function bounds(run) {
  const all = run.result.expect || [];
  if (!all.length) return null;
  const failed = all.filter((b) => !b.holds).length;
  return el("details", {open: failed > 0},
    el("summary", {}, failed ? `${failed} of ${all.length} bounds of the recipe do not hold` : `All ${all.length} bounds of the recipe hold`),
    table([
      {title: "bound", text: true, cell: (b) => b.bound},
      {title: "is", cell: (b) => digits3(b.value)},
      {title: "expected", text: true, cell: (b) => b.expected},
      {title: "", text: true, cell: (b) => (b.holds ? "\u2713 holds" : el("b", {class: "bad"}, "\u2717 does not hold"))},
    ], all, "bounds"));
}

function overview() {
  const title = several ? `${data.runs.length} runs compared` : data.runs[0].name;
  document.title = `${title} \u00b7 Espalier report`;
  return section("overview", "Overview", title,
    several ? data.runs.map((run) => [el("h3", {}, run.name), headOfRun(run), findings(run)]) : [headOfRun(data.runs[0]), findings(data.runs[0])],
    tradeOffOfVariants(), variantTable(), data.runs.map((run) => [several && (run.result.expect || []).length ? el("h3", {}, run.name) : null, bounds(run)]));
}
