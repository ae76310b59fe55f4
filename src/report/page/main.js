// Puts the sections together.

function sectionsOf(run) {
  const found = [several ? null : training([run]), sensitivity(run), tradeOff(run), cuts(run), layerErrors(run), errors(run), examples(run)];
  const missing = run.missing.length
    ? section("missing", "Missing", "Not in this report", el("ul", {}, run.missing.map((m) => el("li", {}, el("b", {}, m.section), `: ${m.text}`)))) : null;
  return [...found, missing].filter(Boolean);
}

function start() {
  startTheme();
  const main = document.getElementById("main"), nav = document.getElementById("nav"), place = el("div", {id: "run"});
  const common = [overview(), several ? training(data.runs) : null].filter(Boolean);
  const names = data.runs.map((run) => run.name);
  const show = (name) => {
    place.replaceChildren(...sectionsOf(data.runs[names.indexOf(name)]));
    nav.replaceChildren(...[...common, ...place.children].map((s) => el("a", {href: `#${s.id}`}, s.dataset.short)));
  };
  main.append(...common);
  const pick = several ? choice("run", names, show) : show(names[0]);
  if (pick) main.append(el("div", {class: "pick"}, pick));
  main.append(place);
  document.getElementById("foot").append(`Made by espalier ${data.version}. Every number was measured; nothing was fetched from a network.`);
  redraw();
}

start();
