// What every section uses: elements, numbers for people, the tooltip, light and dark.

const data = JSON.parse(document.getElementById("data").textContent);

/// el("td", {class: "num"}, "7") is <td class="num">7</td>; children are texts, elements, or lists of them.
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((c) => c != null));
  return node;
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes || {})) if (value != null) node.setAttribute(key, value);
  node.append(...children.flat(Infinity).filter((c) => c != null));
  return node;
}

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
const fixed = (value, digits) => (known(value) ? value.toFixed(digits).replace("-", "\u2212") : "\u2013");
const percent = (share, digits = 1) => (known(share) ? fixed(100 * share, digits) : "\u2013");
const grouped = (count) => Math.round(count).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");

/// Three significant digits.
function digits3(value) {
  if (!known(value)) return "\u2013";
  const size = Math.abs(value);
  if (size >= 100) return grouped(value);
  return fixed(value, size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : size === 0 ? 0 : 4);
}

/// The unit of a quantity that suits its largest value: {scale, unit}.
function unitOf(largest, units) {
  let best = units[0];
  for (const unit of units) if (largest >= unit[0]) best = unit;
  return {scale: best[0], unit: best[1]};
}
const kCounts = [[1, ""], [1e3, "k"], [1e6, "M"], [1e9, "G"]];
const kBytes = [[1, "B"], [1e3, "kB"], [1e6, "MB"], [1e9, "GB"]];
const largestOf = (values) => Math.max(0, ...values.filter(known));

const color = (index) => `var(--s${index % 8})`;

/// Waits until a burst of calls is over.
function settled(run, ms) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, ms);
  };
}

// Charts are drawn for the width that they get, and again when that changes.
const drawings = [];
function drawn(place, draw) {
  let width = 0;
  const update = () => {
    const now = Math.floor(place.clientWidth);
    if (now <= 0 || now === width) return;
    width = now;
    place.replaceChildren(draw(now));
  };
  drawings.push(update);
  return place;
}
const redraw = () => drawings.forEach((update) => update());
window.addEventListener("resize", settled(redraw, 60));

const tip = document.getElementById("tip");

/// Shows lines of text beside a point of the window; the first is the heading.
function showTip(x, y, lines) {
  tip.replaceChildren(...lines.map((line, i) => el(i ? "div" : "strong", {}, line)));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = x + 14 + box.width > document.documentElement.clientWidth ? x - box.width - 14 : x + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, window.innerHeight - box.height - 4))}px`;
}
const hideTip = () => (tip.hidden = true);
document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
window.addEventListener("scroll", hideTip, {passive: true});

/// Gives an element a tooltip, for pointer and keyboard alike.
function withTip(node, lines) {
  node.addEventListener("pointermove", (event) => showTip(event.clientX, event.clientY, lines()));
  node.addEventListener("pointerleave", hideTip);
  node.addEventListener("focus", () => {
    const box = node.getBoundingClientRect();
    showTip(box.left + box.width / 2, box.bottom - 10, lines());
  });
  node.addEventListener("blur", hideTip);
  return node;
}

/// One stop of the Tab key for many elements: the arrow keys go from one to the next, Home and End to the ends.
function roving(container) {
  const all = () => [...container.querySelectorAll("[tabindex]")];
  all().forEach((node, i) => node.setAttribute("tabindex", i ? "-1" : "0"));
  container.addEventListener("keydown", (event) => {
    const nodes = all(), at = nodes.indexOf(document.activeElement);
    const to = {ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: nodes.length - 1}[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const next = nodes[Math.max(0, Math.min(nodes.length - 1, to))];
    nodes.forEach((node) => node.setAttribute("tabindex", node === next ? "0" : "-1"));
    next.focus();
  });
  return container;
}

/// "block3/expand/conv2d" that may go on in the next line after each slash.
const pathName = (path) => el("span", {class: "path"}, path.split("/").flatMap((part, i) => (i ? ["/", el("wbr"), part] : [part])));

function startTheme() {
  const button = document.getElementById("theme"), root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const show = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`);
  };
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    show();
  });
  system.addEventListener("change", show);
  show();
}

/// A section of the page with a heading; `short` is its name in the navigation.
function section(id, short, title, ...children) {
  return el("section", {id, "data-short": short, "aria-labelledby": `${id}-title`}, el("h2", {id: `${id}-title`}, title), children);
}

/// A row of choices, one of which holds; `choose(value)` is called for each change and once now.
function choice(label, options, choose) {
  if (options.length < 2) {
    if (options.length) choose(options[0]);
    return null;
  }
  const buttons = options.map((option) =>
    el("button", {type: "button", "aria-pressed": "false", onclick: () => pick(option)}, option));
  const pick = (option) => {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(options[i] === option)));
    choose(option);
    redraw();
  };
  pick(options[0]);
  return el("div", {class: "choice", role: "group", "aria-label": label}, el("span", {class: "muted"}, label), buttons);
}

/// A table; `columns` are {title, unit, cell(row), text: left aligned}; the first is the row's heading.
function table(columns, rows, className) {
  const head = columns.map((c) =>
    el("th", {scope: "col", class: c.text || c === columns[0] ? "" : "num"}, c.title, c.unit ? el("small", {}, c.unit) : null));
  const line = (row) => columns.map((c, i) =>
    i === 0 ? el("th", {scope: "row"}, c.cell(row)) : el("td", {class: c.text ? "" : "num"}, c.cell(row)));
  return el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "table"},
    el("table", {class: className}, el("thead", {}, el("tr", {}, head)),
      el("tbody", {}, rows.map((row) => el("tr", {}, line(row))))));
}
