// Widgets on a page without a kernel: the few kinds that the book uses, drawn from the state saved in the page.
"use strict";
(() => {
  const block = document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]');
  if (!block) return;
  const id = (reference) => reference.replace("IPY_MODEL_", "");
  const element = (tag, name, content = "") =>
    Object.assign(document.createElement(tag), { className: name, innerHTML: content });

  class Model {
    constructor({ model_name, state }) { this.kind = model_name; this.state = state; this.heard = []; this.linked = []; }
    get(key) { return this.state[key]; }
    set(key, value) {
      if (this.state[key] === value) return;
      this.state[key] = value;
      this.heard.forEach(([wanted, act]) => wanted === key && act(value));
    }
    on(key, act) { this.heard.push([key, act]); act(this.state[key]); }
  }

  const saved = Object.entries(JSON.parse(block.textContent).state);
  const models = Object.fromEntries(saved.map(([name, content]) => [name, new Model(content)]));
  for (const link of Object.values(models).filter((model) => model.kind === "LinkModel")) {
    const [[from, key], [to, other]] = [link.get("source"), link.get("target")];
    const source = models[id(from)], target = models[id(to)];
    source.linked.push(target);
    target.linked.push(source);
    source.on(key, (value) => target.set(other, value));
    target.on(other, (value) => source.set(key, value));
  }

  function movesFrames(model, seen = new Set()) {  // by its links, whose other ends may have links
    seen.add(model);
    return model.kind === "StackModel" || model.linked.some((next) => !seen.has(next) && movesFrames(next, seen));
  }

  const box = (name) => (model) => {
    const node = element("div", name);
    node.append(...model.get("children").map(draw).filter(Boolean));
    return node.querySelector("input, button, img, svg, table, .tale") || node.querySelector("style") ? node : null;
  };

  const pictures = {
    VBoxModel: box("widget-column"),
    HBoxModel: box("widget-row"),
    HTMLModel(model) {
      const node = element("div", "widget-html");
      model.on("value", (value) => { node.innerHTML = value; });
      node.querySelectorAll("img").forEach((image) => { image.decoding = "sync"; });  // else it blinks when it is shown
      return node;
    },
    StackModel(model) {
      const node = element("div", "widget-stack"), parts = model.get("children").map(draw);
      node.append(...parts);
      model.on("selected_index", (shown) => parts.forEach((part, i) => part.classList.toggle("is-behind", i !== shown)));
      return node;
    },
  };

  const controls = {
    IntSliderModel(model) {
      const node = element("label", "widget-slider", model.get("description")), number = element("output");
      const input = Object.assign(element("input"), { type: "range", min: model.get("min"), max: model.get("max") });
      const last = model.get("max") - model.get("min") + 1;
      number.hidden = model.get("readout") === false;
      input.addEventListener("input", () => model.set("value", Number(input.value)));
      model.on("value", (value) => {
        input.value = number.textContent = value;
        input.setAttribute("aria-valuetext", `${value - model.get("min") + 1} of ${last}`);
      });
      node.append(input, number);
      return node;
    },
    PlayModel(model) {
      const node = element("button", "widget-play");
      let timer = null;
      const show = (name, sign) => { node.setAttribute("aria-label", name); node.textContent = sign; };
      const stop = () => { clearInterval(timer); timer = null; show("play", "▶"); };
      const step = () => (model.get("value") < model.get("max") ? model.set("value", model.get("value") + 1) : stop());
      node.addEventListener("click", () => {
        if (timer) return stop();
        if (model.get("value") >= model.get("max")) model.set("value", model.get("min"));
        timer = setInterval(step, model.get("interval"));
        show("pause", "⏸");
      });
      stop();
      return node;
    },
  };

  let lost = 0;  // controls that only a kernel can answer
  function draw(reference) {
    const model = models[id(reference)];
    if (pictures[model.kind]) return pictures[model.kind](model);
    if (controls[model.kind] && movesFrames(model)) return controls[model.kind](model);
    lost += 1;
    return null;
  }

  for (const place of document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')) {
    const before = lost, node = draw(JSON.parse(place.textContent).model_id);
    if (before === 0 && lost > 0)
      place.before(element("p", "needs-kernel", "This picture stands still here, because its sliders and menus need Python. " +
        "To move them, run this chapter's notebook in JupyterLab: <code>make lab</code>."));
    if (node) node.classList.add("widget");
    place.replaceWith(node || "");
  }
})();
