// The same pictures through every variant.

function verdict(run, variant, p, truth) {
  const right = p.classes[0].label === truth;
  return withTip(el("div", {class: `verdict ${right ? "right" : "wrong"}`, tabindex: "0"},
    el("span", {class: "name muted"}, variant),
    el("span", {class: "sign", role: "img", "aria-label": right ? "right" : "wrong"}, right ? "\u2713" : "\u2717"),
    el("b", {class: "name"}, labelOf(run, p.classes[0].label)),
    el("span", {class: "count"}, `${percent(p.classes[0].score, 0)} %`)),
  () => [variant, ...p.classes.map((c) => `${labelOf(run, c.label)} ${percent(c.score)} %`)]);
}

function examples(run) {
  const e = run.examples;
  if (!e || !e.pictures.length) return null;
  const cards = e.pictures.map((picture) => {
    const size = {width: picture.width, height: picture.height, loading: "lazy", decoding: "async"};
    const note = picture.disagree > 0 ? el("span", {class: "badge"}, e.task === "classification" ? "variants disagree" : `variants differ by ${percent(picture.disagree, 0)} %`) : null;
    const head = el("figcaption", {}, el("span", {class: "name", title: picture.name}, picture.name), note);
    if (e.task === "classification")
      return el("figure", {class: "example"}, head, el("div", {class: "seen"},
        el("div", {}, el("img", {...size, src: picture.image, alt: labelOf(run, picture.truth)}), el("small", {}, "is ", el("b", {}, labelOf(run, picture.truth)))),
        roving(el("div", {class: "verdicts"}, picture.variants.map((p, i) => verdict(run, e.variants[i], p, picture.truth))))));
    const view = (title, {image, boxes}) => el("div", {}, el("img", {...size, src: image, alt: `${picture.name}: ${title}`}),
      el("small", {}, title, e.task === "detection" ? el("span", {class: "muted"}, ` \u00b7 ${boxes} ${boxes === 1 ? "box" : "boxes"}`) : null));
    const figure = el("figure", {class: "example row"}, head, el("div", {class: "seen"},
      view("truth", picture), picture.variants.map((p, i) => view(e.variants[i], p))));
    const larger = el("button", {type: "button", "aria-pressed": "false", onclick: () =>
      larger.setAttribute("aria-pressed", String(figure.classList.toggle("large")))}, "Larger");
    head.append(larger);
    return figure;
  });
  return section("examples", "Examples", "Example predictions",
    el("p", {class: "note"}, `${e.pictures.length} of ${grouped(e.looked_at)} pictures of ${e.list} that every variant looked at; those first where variants disagree ` +
      `(${grouped(e.disagreements)} pictures).`),
    e.legend.length ? el("div", {class: "legend classes"}, e.legend.map((c) =>
      el("span", {}, el("i", {style: `border-color:${c.color}`}), c.name || labelOf(run, c.label)))) : null,
    el("div", {class: `examples ${e.task}`}, cards));
}
