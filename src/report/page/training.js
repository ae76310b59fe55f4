// Loss and metric over the epochs, every training stage in the same two charts.

function training(runs) {
  const stages = runs.flatMap((run) => run.training.map((t, i) => ({
    ...t, name: several ? `${run.name} \u00b7 ${t.stage}` : t.stage, label: t.stage, later: several && i > 0,
    color: (variants.find((e) => e.run === run && (several || e.name === t.stage)) || {}).color})));
  if (!stages.length) return null;
  const metric = runs[0].result.metric;
  const x = {label: "epoch", format: (v) => fixed(v, 0), whole: true};
  const line = (t, i, y, low, high) => ({name: t.name, label: t.label, color: t.color || color(i), dash: t.later, dots: t.columns.epoch.length < 15,
    points: t.columns.epoch.map((e, k) => [e, y[k], low && low[k], high && high[k]])});
  const scaled = (column) => (column || []).map((v) => (known(v) ? 100 * v : v));
  const measured = stages.filter((t) => (t.columns[metric] || []).some(known));
  const charts = [lineChart({
    title: "Training loss, mean of an epoch", x, y: {label: "loss", format: digits3, zero: true, steep: 30}, legend: runLegend,
    series: stages.map((t, i) => line(t, i, t.columns.loss)),
  })];
  if (stages.some((t) => (t.columns.eval_loss || []).some(known)))
    charts.push(lineChart({
      title: "Evaluation loss on val", x, y: {label: "loss", format: digits3, zero: true, steep: 30}, legend: runLegend,
      series: stages.map((t, i) => line(t, i, t.columns.eval_loss || [])),
    }));
  if (measured.length)
    charts.unshift(lineChart({
      title: `${metric} on val in %, with its 95 % interval`, x, y: {label: `${metric} %`, format: (v) => fixed(v, 1)}, legend: runLegend,
      series: stages.map((t, i) => line(t, i, scaled(t.columns[metric]), scaled(t.columns.low), scaled(t.columns.high))).filter((s) => s.points.length),
    }));
  if (stages.some((t) => (t.columns.rate || []).some(known)))
    charts.push(lineChart({
      title: "Learning rate at the end of an epoch", x, y: {label: "rate", format: digits3, zero: true}, legend: runLegend,
      series: stages.map((t, i) => line(t, i, t.columns.rate || [])),
    }));
  return section("training", "Training", "Training curves", el("div", {class: "charts"}, charts));
}
