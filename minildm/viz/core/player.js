// Many paths on one canvas: play, scrub, point at a path to read its label. The data is in the page.
"use strict";
(() => {
  const find = (selector) => document.querySelector(selector);
  const data = JSON.parse(find("script[type='application/json']").textContent), colors = data.colors;
  const canvas = find("canvas"), button = find("button"), slider = find("input"), time = find("output"), label = find("p");
  const pen = canvas.getContext("2d"), last = data.times.length - 1, wide = canvas.width, high = canvas.height;
  const MILLISECONDS = 6000, NEAR = 12;  // of a whole play; of the pointer, in pixels
  let now = 0, chosen = -1, playing = null;

  const sharp = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: wide * sharp, height: high * sharp });
  Object.assign(canvas.style, { width: `${wide}px`, height: `${high}px` });
  pen.scale(sharp, sharp);

  const byte = (color, i) => parseInt(color.slice(1 + 2 * i, 3 + 2 * i), 16);
  const between = (fraction) => `rgb(${[0, 1, 2].map((i) =>
    Math.round(byte(colors.noise, i) * (1 - fraction) + byte(colors.data, i) * fraction)).join()})`;

  function line(path, from, to) {
    pen.beginPath();
    for (let k = from; k <= to; k += 1) pen.lineTo(path[2 * k], path[2 * k + 1]);
    pen.stroke();
  }

  function grid() {
    pen.font = "11px sans-serif";
    pen.lineWidth = 1;
    pen.strokeStyle = colors.grid;
    pen.fillStyle = colors.noise;
    for (const [x, name] of data.grid.x) {
      line([x, 0, x, high], 0, 1);
      pen.fillText(name, x + 3, high - 4);
    }
    for (const [y, name] of data.grid.y) {
      line([0, y, wide, y], 0, 1);
      pen.fillText(name, 3, y - 3);
    }
  }

  function draw() {
    pen.clearRect(0, 0, wide, high);
    grid();
    data.points.forEach((path, i) => {
      pen.lineWidth = i === chosen ? 2.5 : 1;
      pen.strokeStyle = colors.grid;
      if (i === chosen) line(path, now, last);
      pen.strokeStyle = i === chosen ? colors.pointed : colors.noise;
      pen.globalAlpha = i === chosen ? 1 : 0.45;
      line(path, 0, now);
      pen.globalAlpha = 1;
    });
    data.points.forEach((path, i) => {
      pen.fillStyle = i === chosen ? colors.pointed : between(now / Math.max(last, 1));
      pen.beginPath();
      pen.arc(path[2 * now], path[2 * now + 1], i === chosen ? 6 : 4, 0, 2 * Math.PI);
      pen.fill();
    });
    slider.value = now;
    time.textContent = `t = ${data.times[now].toFixed(2)}`;
    const said = data.said[chosen];
    label.textContent = said ? data.texts[said[Math.min(now, said.length - 1)]] : "Point at a path to read it.";
  }

  const show = (time, path = chosen) => { now = time; chosen = path; draw(); };

  const stop = () => { clearInterval(playing); playing = null; button.textContent = "▶"; };

  function play() {
    if (playing) return stop();
    if (now === last) show(0);
    button.textContent = "⏸";
    playing = setInterval(() => {
      show(now + 1);
      if (now === last) stop();
    }, Math.max(40, MILLISECONDS / (last + 1)));
  }

  function distance(path, k, x, y) {  // from (x, y) to the part of a path between two times
    const [fromX, fromY, toX, toY] = path.slice(2 * k, 2 * k + 4), dx = toX - fromX, dy = toY - fromY;
    const fraction = Math.min(1, Math.max(0, ((x - fromX) * dx + (y - fromY) * dy) / (dx * dx + dy * dy || 1)));
    return Math.hypot(fromX + fraction * dx - x, fromY + fraction * dy - y);
  }

  function nearest(x, y) {
    let best = NEAR, found = -1;
    data.points.forEach((path, i) => {
      let away = Math.hypot(path[2 * now] - x, path[2 * now + 1] - y);
      for (let k = 0; k < now; k += 1) away = Math.min(away, distance(path, k, x, y));
      if (away < best) [best, found] = [away, i];
    });
    return found;
  }

  const point = (event) => show(now, nearest(event.offsetX, event.offsetY));

  function key(event) {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    const count = data.points.length, from = chosen < 0 && move < 0 ? 0 : chosen;
    show(now, (from + move + count) % count);
  }

  button.addEventListener("click", play);
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("keydown", key);
  draw();
})();
