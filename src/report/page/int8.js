// What INT8 does to each layer.

function layerErrors(run) {
  if (!run.layer_errors.length) return null;
  const place = el("div", {});
  const show = (name) => {
    const e = run.layer_errors.find((l) => l.stage === name), metric = e.metric_name;
    const values = e.layers.map((l) => l.sqnr_db).filter(known), top = Math.max(40, ...values);
    const drop = (l) => (known(l.metric_only_this) && known(e.metric_fp32) ? 100 * (e.metric_fp32 - l.metric_only_this) : null);
    const grid = el("div", {class: "bars errors"});
    const rows = e.layers.map((l) => {
      const lines = () => [l.layer, `${l.op}${l.kept_fp32 ? ", kept in FP32" : ""}`,
        known(l.sqnr_db) ? `SQNR ${fixed(l.sqnr_db, 1)} dB` : "SQNR not measured",
        ...(known(drop(l)) ? [`alone in INT8: ${metric} ${percent(l.metric_only_this)} %, ${fixed(drop(l), 2)} points below FP32`] : [])];
      const width = known(l.sqnr_db) ? Math.max(0, (100 * l.sqnr_db) / top) : 0;
      return {l, node: withTip(el("div", {class: `bar${l.kept_fp32 ? " whole" : ""}`, tabindex: "0"},
        pathName(l.layer.endsWith("conv2d") ? l.layer.slice(0, l.layer.lastIndexOf("/")) : l.layer), el("span", {class: "track"}, el("i", {style: `width:${width}%`})),
        el("span", {class: "count"}, known(l.sqnr_db) ? `${fixed(l.sqnr_db, 1)} dB` : "\u2013",
          l.kept_fp32 ? el("small", {}, "FP32")
            : known(drop(l)) ? el("small", {}, `${drop(l) > 0 ? "\u2212" : "+"}${fixed(Math.abs(drop(l)), 2)}`) : null)), lines)};
    });
    const order = choice("order", ["worst first", "network"], (o) => grid.replaceChildren(
      ...(o === "network" ? rows : [...rows].sort((a, b) => (a.l.sqnr_db ?? Infinity) - (b.l.sqnr_db ?? Infinity))).map((r) => r.node)));
    roving(grid);
    const both = known(e.metric_fp32) && known(e.metric_int8)
      ? ` ${metric}: FP32 ${percent(e.metric_fp32, 2)} %, INT8 ${percent(e.metric_int8, 2)} %.` : "";
    const small = e.layers.some((l) => known(drop(l))) ? ` Small numbers: points of ${metric} with only this layer in INT8.`
      : ` \`layer_metrics: true\` in the stage measures ${metric} with each layer alone in INT8.`;
    place.replaceChildren(el("p", {class: "note"}, "Signal to quantisation noise of each layer's output in dB (more is better; " +
      `20 dB: 1 % of the power is noise) on ${grouped(e.images)} images.` + both + small), order, grid);
  };
  return section("int8", "INT8", "INT8 error per layer", choice("stage", run.layer_errors.map((l) => l.stage), show), place);
}
