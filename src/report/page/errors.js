// Which classes are taken for which; precision and recall of detectors.

const labelOf = (run, k) => run.labels[k] ?? `class ${k}`;

function confusionMatrix(run, m) {
  const n = m.length, sums = m.map((row) => row.reduce((a, b) => a + b, 0));
  const shares = sums.some((sum) => sum > 9999);
  const head = el("tr", {}, el("td", {class: "corner"}, el("small", {}, `is \u2193 taken for \u2192${shares ? ", %" : ""}`)), m.map((_, k) =>
    el("th", {scope: "col"}, el("span", {}, labelOf(run, k)))));
  const rows = m.map((row, i) => el("tr", {}, el("th", {scope: "row"}, labelOf(run, i)), row.map((count, j) => {
    const share = sums[i] ? count / sums[i] : 0;
    const text = shares ? percent(share) : String(count);
    return withTip(el("td", {class: `${i === j ? "hit" : "miss"}${share > 0.55 ? " strong" : ""}`, style: `--share:${Math.sqrt(share).toFixed(3)}`}, count ? text : ""),
      () => [`${labelOf(run, i)} taken for ${labelOf(run, j)}`, `${grouped(count)} of ${grouped(sums[i])} (${percent(share)} %)`]);
  })));
  return el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "confusion matrix"},
    el("table", {class: `confusion${n > 12 ? " dense" : ""}`}, el("thead", {}, head), el("tbody", {}, rows)));
}

function worstPairs(run, pairs) {
  return table([
    {title: "is", text: true, cell: (p) => labelOf(run, p.is)}, {title: "taken for", text: true, cell: (p) => labelOf(run, p.taken_for)},
    {title: "times", cell: (p) => grouped(p.count)}, {title: "of", cell: (p) => grouped(p.of)}], pairs, "numbers");
}

function classTable(run, d, metric) {
  const rows = d.per_class.map((value, k) => ({k, value}));
  const columns = [{title: "class", text: true, cell: (r) => labelOf(run, r.k)}, {title: {top1: "recall", miou: "IoU", map: "AP"}[metric] || metric, unit: "%", cell: (r) => percent(r.value)}];
  // Recall, precision and F1 of a class, by the names that evaluations give them.
  for (const key of ["accuracies", "precisions", "f1"])
    if (d[key] && d[key].length === rows.length) columns.push({title: {accuracies: "recall", precisions: "precision", f1: "F1"}[key], unit: "%", cell: (r) => percent(d[key][r.k])});
  if (d.counts) columns.push({title: {classification: "pictures", detection: "objects", segmentation: "pixels"}[run.result.task] || "count", cell: (r) => grouped(d.counts[r.k])});
  if (d.detections) columns.push({title: "boxes found", cell: (r) => grouped(d.detections[r.k])});
  return el("details", {open: rows.length <= 6 || (rows.length <= 20 && innerWidth > 1000)}, el("summary", {}, "Every class as numbers"), table(columns, rows, "numbers"));
}

function precisionRecall(run, curves) {
  const shown = curves.map((c, k) => ({c, k})).filter(({c}) => c.recall.length).slice(0, 8);
  if (!shown.length) return null;
  return lineChart({
    title: `Precision against recall of ${shown.length < curves.length ? "the first 8 classes" : "every class"}, IoU 0.5`,
    height: 320, x: {label: "recall %", format: (v) => fixed(v, 0), low: 0, high: 100},
    y: {label: "precision %", format: (v) => fixed(v, 1), low: 0, high: 102},
    series: shown.map(({c, k}) => ({name: labelOf(run, k), color: color(k), points: c.recall.map((r, i) => [100 * r, 100 * c.precision[i]])})),
  });
}

function errors(run) {
  const names = Object.keys(run.evaluation).filter((name) => Object.values(run.evaluation[name]).some((m) => m.details));
  if (!names.length) return null;
  const place = el("div", {});
  const show = (name) => {
    const lists = run.evaluation[name];
    const of = (list) => {
      const m = lists[list], d = m.details;
      return el("div", {class: "beside"}, d.confusion ? confusionMatrix(run, d.confusion) : null, d.worst ? worstPairs(run, d.worst) : null,
        d.curves ? precisionRecall(run, d.curves) : null, d.per_class ? classTable(run, d, m.name) : null);
    };
    const inner = el("div", {});
    place.replaceChildren(...[choice("list", Object.keys(lists).filter((l) => lists[l].details), (l) => inner.replaceChildren(of(l))), inner].filter(Boolean));
  };
  const all = names.flatMap((name) => Object.values(run.evaluation[name]).map((m) => m.details || {}));
  const title = run.result.task === "detection" ? "Precision and recall" : all.some((d) => d.worst) ? "What is taken for what" : "Confusion matrix";
  return section("errors", "Errors", title, choice("variant", names, show), place);
}
