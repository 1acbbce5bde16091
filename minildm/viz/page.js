// Widgets on a page without a kernel: the few kinds that the book uses, drawn from the state saved in the page.
"use strict";
(() => {
  const block = document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]');
  if (!block) return;
  const saved = JSON.parse(block.textContent).state, models = {};
  const id = (reference) => reference.replace("IPY_MODEL_", "");
  const element = (tag, content = "") => Object.assign(document.createElement(tag), { innerHTML: content });

  class Model {
    constructor({ model_name, state }) { this.kind = model_name; this.state = state; this.heard = []; }
    get(key) { return this.state[key]; }
    set(key, value) {
      if (this.state[key] === value) return;
      this.state[key] = value;
      this.heard.forEach(([wanted, act]) => wanted === key && act(value));
    }
    on(key, act) { this.heard.push([key, act]); act(this.state[key]); }
  }

  const children = (model) => (model.get("children") || []).map((child) => draw(id(child)));

  const box = (direction) => (model) => {
    const node = element("div");
    Object.assign(node.style, { display: "flex", flexDirection: direction, gap: "6px", alignItems: "flex-start" });
    node.append(...children(model));
    return node;
  };

  const draws = {
    VBoxModel: box("column"),
    HBoxModel: box("row"),
    HTMLModel(model) {
      const node = element("div");
      model.on("value", (value) => { node.innerHTML = value; });
      return node;
    },
    StackModel(model) {
      const node = element("div"), parts = children(model);
      node.append(...parts);
      model.on("selected_index", (shown) => parts.forEach((part, i) => { part.hidden = i !== shown; }));
      return node;
    },
    IntSliderModel(model) {
      const node = element("label", model.get("description") + " "), number = element("output");
      number.hidden = model.get("readout") === false;
      const input = Object.assign(element("input"), { type: "range", min: model.get("min"), max: model.get("max") });
      input.addEventListener("input", () => model.set("value", Number(input.value)));
      model.on("value", (value) => { input.value = value; number.textContent = ` ${value}`; });
      node.append(input, number);
      return node;
    },
    PlayModel(model) {
      const node = element("button", "▶");
      node.setAttribute("aria-label", "play");
      let timer = null;
      const stop = () => { clearInterval(timer); timer = null; node.textContent = "▶"; };
      node.addEventListener("click", () => {
        if (timer) return stop();
        if (model.get("value") >= model.get("max")) model.set("value", model.get("min"));
        node.textContent = "⏸";
        timer = setInterval(() => {
          if (model.get("value") >= model.get("max")) return stop();
          model.set("value", model.get("value") + 1);
        }, model.get("interval"));
      });
      return node;
    },
  };

  function draw(name) {
    const model = models[name], node = model && draws[model.kind];
    return node ? node(model) : element("em", model ? `${model.get("description")} (needs a kernel)` : "");
  }

  for (const [name, model] of Object.entries(saved)) models[name] = new Model(model);
  for (const link of Object.values(models).filter((model) => model.kind === "LinkModel")) {
    const [[from, key], [to, other]] = [link.get("source"), link.get("target")];
    const source = models[id(from)], target = models[id(to)];
    source.on(key, (value) => target.set(other, value));
    target.on(other, (value) => source.set(key, value));
  }
  for (const place of document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')) {
    const node = draw(JSON.parse(place.textContent).model_id);
    node.classList.add("widget");
    place.replaceWith(node);
  }
})();
