// Charts: lines over a number, and points in a plane. Both are drawn for a width in pixels.

/// Round numbers that cover [low, high], about `count` of them, and their texts with as many digits as they
/// need: [{at, text}].
function ticks(low, high, count) {
  const raw = (high - low || 1) / count, power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= raw * 0.999);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), all = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i)
    all.push({at: i * step, text: i === 0 ? "0" : i * step >= 10000 ? grouped(i * step) : fixed(i * step, digits)});
  return all;
}

const ruler = document.createElement("canvas").getContext("2d");
function textWidth(text, weight = 600) {
  ruler.font = `${weight} 12px ${getComputedStyle(document.body).fontFamily}`;
  return Math.ceil(ruler.measureText(text).width) + 2;
}

/// Moves labels apart that would overlap; `spots` are {y}, changed in place and kept within [top, bottom].
function spread(spots, gap, top, bottom) {
  const sorted = [...spots].sort((a, b) => a.y - b.y);
  sorted.forEach((spot, i) => (spot.y = Math.max(spot.y, i ? sorted[i - 1].y + gap : top)));
  for (let i = sorted.length - 1; i >= 0; --i)
    sorted[i].y = Math.min(sorted[i].y, i + 1 < sorted.length ? sorted[i + 1].y - gap : bottom);
}

/// The powers of ten within [low, high], with 2 and 5 between where they are few.
function decades(low, high) {
  const all = [], few = Math.log10(high / low) < 2.5;
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); ++p)
    for (const m of few ? [1, 2, 5] : [1]) {
      const at = m * Math.pow(10, p);
      if (at >= low && at <= high) all.push({at, text: p < 0 ? at.toFixed(-p) : grouped(at)});
    }
  return all;
}

/// Axes with grid lines and units. `x` and `y` are {low, high, label, whole: numbers without fraction, log}; widens
/// the left margin to what the numbers need.
function frame(width, height, margin, x, y) {
  const rows = y.log ? decades(y.low, y.high) : ticks(y.low, y.high, Math.max(3, Math.round((height - margin.top - margin.bottom) / 42)));
  margin.left = Math.max(28, ...rows.map((tick) => textWidth(tick.text, 400) + 10));
  const up = y.log ? (v) => Math.log(v / y.low) / Math.log(y.high / y.low) : (v) => (v - y.low) / (y.high - y.low || 1);
  const place = {
    x: (v) => margin.left + ((v - x.low) / (x.high - x.low || 1)) * (width - margin.left - margin.right),
    y: (v) => height - margin.bottom - up(v) * (height - margin.top - margin.bottom),
  };
  const grid = [];
  for (const {at, text} of rows)
    grid.push(svg("line", {class: "grid", x1: margin.left, x2: width - margin.right, y1: place.y(at), y2: place.y(at)}),
      svg("text", {x: margin.left - 6, y: place.y(at) + 4, "text-anchor": "end"}, text));
  const columns = ticks(x.low, x.high, Math.max(2, Math.round((width - margin.left - margin.right) / 75)));
  for (const {at, text} of columns.filter((tick) => !x.whole || Number.isInteger(tick.at)))
    grid.push(svg("line", {class: "tick", x1: place.x(at), x2: place.x(at), y1: height - margin.bottom, y2: height - margin.bottom + 4}),
      svg("text", {x: place.x(at), y: height - margin.bottom + 17, "text-anchor": "middle"}, text));
  grid.push(svg("line", {class: "axis", x1: margin.left, x2: width - margin.right, y1: height - margin.bottom, y2: height - margin.bottom}),
    svg("text", {class: "label", x: width - margin.right, y: height - 4, "text-anchor": "end"}, x.label),
    svg("text", {class: "label", x: 0, y: 12}, y.label));
  return {place, grid};
}

function picture(width, height, label, children) {
  return svg("svg", {width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label}, children);
}

function extent(values, zero) {
  let low = Math.min(...values), high = Math.max(...values);
  if (zero) low = Math.min(0, low);
  const pad = (high - low || Math.abs(high) || 1) * 0.06;
  return {low: zero && low === 0 ? 0 : low - pad, high: high + pad};
}

const legend = (series) => el("div", {class: "legend"}, series.map((s) =>
  el("span", {}, el("i", {class: s.dash ? "dash" : "", style: `border-color:${s.color}`}), s.name)));

/// Lines. `chart` is {title, x: {label, format, low, high, whole}, y: {label, format, zero, low, high,
/// steep: logarithmic where the largest value is so many times the least}, height,
/// series: [{name, label, color, dash, dots, points: [[x, y, low, high]]}]}; `format` is of the tooltip; `legend` stands for
/// the series in the legend. Values under the pointer, or the
/// arrow keys, are shown. `chart.cursor(x)` of the drawn chart moves its line.
function lineChart(chart) {
  const place = el("div", {class: "plot"});
  const series = chart.series.map((s) => ({...s, points: s.points.filter((p) => known(p[0]) && known(p[1]))}))
    .filter((s) => s.points.length);
  const figure = el("figure", {}, el("figcaption", {}, chart.title), legend(chart.legend || series), place);
  if (!series.length) return figure;
  const all = series.flatMap((s) => s.points);
  const x = {low: Math.min(...all.map((p) => p[0])), high: Math.max(...all.map((p) => p[0])), ...chart.x}, y = {...chart.y};
  const range = extent(all.flatMap((p) => [p[1], p[2], p[3]].filter(known)), chart.y.zero);
  y.low = chart.y.low ?? range.low;
  y.high = chart.y.high ?? range.high;
  const values = all.map((p) => p[1]), least = Math.min(...values);
  if (chart.y.steep && least > 0 && Math.max(...values) > chart.y.steep * least)
    Object.assign(y, {log: true, low: least * 0.9, high: Math.max(...values) * 1.1, label: `${y.label}, logarithmic`});
  const xs = [...new Set(all.map((p) => p[0]))].sort((a, b) => a - b);

  drawn(place, (width) => {
    const labelled = width >= 520 && series.length > 1;
    figure.classList.toggle("labelled", !chart.legend && (labelled || series.length === 1));
    const margin = {top: 22, bottom: 38, left: 0,
      right: labelled ? 14 + Math.max(...series.map((s) => textWidth(s.label || s.name))) : 14};
    const height = chart.height || 250;
    const {place: at, grid} = frame(width, height, margin, x, y);
    const children = [...grid];
    for (const s of series) {
      if (s.points.every((p) => known(p[2]) && known(p[3])) && s.points.length > 1)
        children.push(svg("path", {class: "band", fill: s.color, d: "M" +
          [...s.points.map((p) => [at.x(p[0]), at.y(p[3])]), ...[...s.points].reverse().map((p) => [at.x(p[0]), at.y(p[2])])]
            .map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L") + "Z"}));
      children.push(svg("path", {class: "line", stroke: s.color, "stroke-dasharray": s.dash ? "5 4" : null,
        d: "M" + s.points.map((p) => `${at.x(p[0]).toFixed(1)} ${at.y(p[1]).toFixed(1)}`).join("L")}));
      if (s.dots || s.points.length === 1)
        for (const p of s.points) children.push(svg("circle", {cx: at.x(p[0]), cy: at.y(p[1]), r: 3, fill: s.color}));
    }
    if (labelled) {
      const spots = series.map((s) => ({s, y: at.y(s.points[s.points.length - 1][1]) + 4}));
      spread(spots, 14, margin.top + 4, height - margin.bottom);
      for (const spot of spots)
        children.push(svg("text", {class: "name", x: width - margin.right + 8, y: spot.y, style: `--own:${spot.s.color}`}, spot.s.label || spot.s.name));
    }
    const line = svg("line", {class: "cursor", y1: margin.top, y2: height - margin.bottom, visibility: "hidden"});
    children.push(line);
    const node = picture(width, height, `${chart.title}; arrow keys read the values`, children);
    node.setAttribute("tabindex", "0");

    let current = -1;
    const move = (value) => {
      line.setAttribute("x1", at.x(value));
      line.setAttribute("x2", at.x(value));
      line.setAttribute("visibility", "visible");
    };
    const show = (index, clientX, clientY) => {
      current = index;
      move(xs[index]);
      const lines = [`${chart.x.label} ${chart.x.format(xs[index])}`];
      for (const s of series) {
        const p = s.points.find((q) => q[0] === xs[index]);
        if (p) lines.push(`${s.name}: ${chart.y.format(p[1])}` +
          (known(p[2]) ? ` (${chart.y.format(p[2])}\u2013${chart.y.format(p[3])})` : ""));
      }
      showTip(clientX, clientY, lines);
    };
    const rest = () => {
      hideTip();
      if (known(figure.rest)) move(figure.rest);
      else line.setAttribute("visibility", "hidden");
    };
    node.addEventListener("pointermove", (event) => {
      const box = node.getBoundingClientRect(), px = (event.clientX - box.left) * (width / box.width);
      let best = 0;
      xs.forEach((v, i) => { if (Math.abs(at.x(v) - px) < Math.abs(at.x(xs[best]) - px)) best = i; });
      show(best, event.clientX, event.clientY);
    });
    node.addEventListener("pointerleave", rest);
    node.addEventListener("blur", rest);
    node.addEventListener("keydown", (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (!step) return;
      event.preventDefault();
      const box = node.getBoundingClientRect(), next = Math.max(0, Math.min(xs.length - 1, current + step));
      show(next, box.left + at.x(xs[next]) * (box.width / width), box.top + margin.top);
    });
    figure.cursor = (value) => {
      figure.rest = value;
      move(value);
    };
    if (known(figure.rest)) move(figure.rest);
    return node;
  });
  return figure;
}

const kMarks = [
  (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
  (r) => `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (r) => `M0 ${-1.25 * r}L${1.2 * r} ${r}L${-1.2 * r} ${r}z`,
  (r) => `M0 ${-1.35 * r}L${1.35 * r} 0L0 ${1.35 * r}L${-1.35 * r} 0z`,
];

/// Points with whiskers. `chart` is {title, x: {label}, y: {label}, points: [{x, y, low, high,
/// name, color, mark, lines, family}]}; `lines` is the tooltip, points of one family are joined.
function pointChart(chart) {
  const place = el("div", {class: "plot"});
  const points = chart.points.filter((p) => known(p.x) && known(p.y));
  const figure = el("figure", {}, el("figcaption", {}, chart.title), chart.legend ? legend(chart.legend) : null, place);
  if (!points.length) return figure;
  const x = {low: 0, high: Math.max(...points.map((p) => p.x)) * 1.08, ...chart.x};
  const y = {...extent(points.flatMap((p) => [p.y, p.low, p.high].filter(known))), ...chart.y};
  drawn(place, (width) => {
    const height = chart.height || (width < 520 ? 300 : 340), margin = {top: 22, bottom: 38, left: 0, right: 16};
    const {place: at, grid} = frame(width, height, margin, x, y);
    const children = [...grid];
    const spots = points.map((p) => ({p, x: at.x(p.x), mark: at.y(p.y), y: at.y(p.y) + 4}));
    // A name stands beside its mark where it covers no other; names of points that stand near each other are moved apart.
    const covers = (spot, from, w) => spots.some((o) => o !== spot && o.x > from - 6 && o.x < from + w + 6 && Math.abs(o.mark - spot.mark) < 11);
    spots.sort((a, b) => a.y - b.y);
    const taken = [];
    for (const spot of spots) {
      const w = textWidth(spot.p.name), sides = [spot.x + 10, spot.x - 10 - w].filter((from) => from >= 0 && from + w <= width - 2);
      spot.from = sides.find((from) => !covers(spot, from, w)) ?? sides[0] ?? spot.x + 10;
      const hits = (b) => spot.from < b.to && spot.from + w > b.from && Math.abs(spot.y - b.y) < 13;
      for (let tries = 0; tries < 40 && taken.some(hits); ++tries) spot.y = Math.max(...taken.filter(hits).map((b) => b.y)) + 13;
      taken.push({from: spot.from, to: spot.from + w, y: spot.y});
    }
    for (const family of new Set(points.map((p) => p.family).filter(Boolean))) {
      const kin = points.filter((p) => p.family === family).sort((a, b) => a.x - b.x);
      if (kin.length > 1)
        children.push(svg("path", {class: "family", stroke: kin[0].color, d: "M" + kin.map((p) => `${at.x(p.x).toFixed(1)} ${at.y(p.y).toFixed(1)}`).join("L")}));
    }
    for (const {p} of spots)
      if (known(p.low)) children.push(svg("line", {class: "whisker", stroke: p.color, x1: at.x(p.x), x2: at.x(p.x), y1: at.y(p.low), y2: at.y(p.high)}));
    for (const spot of spots) {
      const {p} = spot;
      const mark = svg("path", {class: "mark", d: kMarks[(p.mark || 0) % kMarks.length](5.5), fill: p.color, tabindex: "0",
        role: "img", "aria-label": p.lines.join(", "), transform: `translate(${at.x(p.x)} ${at.y(p.y)})`});
      children.push(withTip(mark, () => p.lines),
        svg("text", {class: "name", x: spot.from, y: spot.y, style: `--own:${p.color}`}, p.name));
    }
    return picture(width, height, chart.title, children);
  });
  return figure;
}
