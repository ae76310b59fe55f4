// Loss and metric over the epochs, every training stage in the same two charts.

function training(runs) {
  const stages = runs.flatMap((run) => run.training.map((t) => ({...t, name: several ? `${run.name} \u00b7 ${t.stage}` : t.stage})));
  if (!stages.length) return null;
  const metric = runs[0].result.metric;
  const x = {label: "epoch", format: (v) => fixed(v, 0)};
  const longest = Math.max(...stages.map((t) => t.columns.epoch.length));
  if (longest < 12) x.ticks = Array.from({length: longest}, (_, i) => i + 1);
  const line = (t, i, y, low, high) => ({name: t.name, color: color(i), dots: t.columns.epoch.length < 15,
    points: t.columns.epoch.map((e, k) => [e, y[k], low && low[k], high && high[k]])});
  const scaled = (column) => (column || []).map((v) => (known(v) ? 100 * v : v));
  const measured = stages.filter((t) => (t.columns[metric] || []).some(known));
  const charts = [lineChart({
    title: "Training loss, mean of an epoch", x, y: {label: "loss", format: digits3, zero: true},
    series: stages.map((t, i) => line(t, i, t.columns.loss)),
  })];
  if (stages.some((t) => (t.columns.eval_loss || []).some(known)))
    charts.push(lineChart({
      title: "Evaluation loss on val", x, y: {label: "loss", format: digits3, zero: true},
      series: stages.map((t, i) => line(t, i, t.columns.eval_loss || [])),
    }));
  if (measured.length)
    charts.unshift(lineChart({
      title: `${metric} on val in %, with its 95 % interval`, x, y: {label: `${metric} %`, format: (v) => fixed(v, 0), exact: (v) => fixed(v, 1)},
      series: stages.map((t, i) => line(t, i, scaled(t.columns[metric]), scaled(t.columns.low), scaled(t.columns.high))).filter((s) => s.points.length),
    }));
  if (stages.some((t) => (t.columns.rate || []).some(known)))
    charts.push(lineChart({
      title: "Learning rate at the end of an epoch", x, y: {label: "rate", format: digits3, zero: true},
      series: stages.map((t, i) => line(t, i, t.columns.rate || [])),
    }));
  return section("training", "Training curves", el("div", {class: "charts"}, charts));
}
