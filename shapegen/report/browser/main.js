"use strict";

/* Puts viewer and table together: what is chosen is shown, said and can be saved. */

(() => {
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("viewer-data").textContent);
  const shapes = data.shapes.filter((shape) => shape.mesh);
  const byId = new Map(shapes.map((shape) => [shape.id, shape]));
  const [left, right, canvas] = ["left", "right", "canvas"].map(at);
  let viewer = null;
  let table = null;

  function choose(select, extra) {
    for (const [value, text] of extra) select.append(new Option(text, value));
    for (const kind of new Set(shapes.map((shape) => shape.kind))) {
      const group = select.appendChild(document.createElement("optgroup"));
      group.label = kind;
      for (const shape of shapes) if (shape.kind === kind) group.append(new Option(shape.id, `shape:${shape.id}`));
    }
  }

  const named = (select) => byId.get(select.value.replace(/^shape:/, "")) ?? null;
  const others = () => (right.value === "beside" ? (byId.get(named(left)?.beside) ?? null) : named(right));

  function label(shape, relation) {
    if (!shape) return "";
    const kind = relation && relation !== shape.kind ? `${relation} (${shape.kind})` : shape.kind;
    const measured = data.columns
      .map((column, k) => [column, shape.measures[k]])
      .filter(([column, value]) => typeof value === "number" && column.unit)
      .slice(0, 1)
      .map(([column, value]) => `${column.name} ${shownText(value)} ${column.unit}`);
    return [shape.id, kind, ...measured].join(", ");
  }

  async function show() {
    const [first, second] = [named(left), others()];
    await viewer?.show(first, second);
    const relation = right.value === "beside" ? first?.relation : "";
    at("left-name").textContent = label(first);
    at("right-name").textContent = label(second, relation);
    const said = [label(first), label(second, relation)].filter(Boolean).join("; beside it ");
    at("said").textContent = said;
    canvas.setAttribute("aria-label", said);
    at("thinned").textContent = first ? `The left one has ${first.mesh.faces.toLocaleString("en")} faces.` : "";
    at("whole").replaceChildren();
    if (first?.link) {
      const link = at("whole").appendChild(document.createElement("a"));
      link.href = first.link.split("/").map(encodeURIComponent).join("/");
      link.textContent = "The whole mesh";
    }
    table?.mark(first);
    legend();
    partsLegend([first, second]);
  }

  function choice(row) {
    left.value = `shape:${row.id}`;
    canvas.scrollIntoView({ block: "nearest" });
    show();
  }

  function save(name, blob) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name.replace(/[^\w.-]+/g, "-");
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function scale({ detail: pixels }) {
    const length = [1, 2, 5, 10, 20, 50, 100, 200, 500].findLast((each) => each * pixels < 140) ?? 1;
    at("scale").firstElementChild.style.width = `${length * pixels}px`;
    at("scale").lastElementChild.textContent = `${length} mm`;
  }

  function drawBar() {
    const pixels = new ImageData(256, 1);
    bytesOf(data.paint.colours).forEach((value, i) => (pixels.data[4 * Math.floor(i / 3) + (i % 3)] = value));
    for (let i = 3; i < pixels.data.length; i += 4) pixels.data[i] = 255;
    at("bar").getContext("2d").putImageData(pixels, 0, 0);
    at("painting").textContent = data.paint.title;
    at("unit").textContent = data.paint.unit;
  }

  function legend() {
    const painted = Boolean(viewer?.sides.some((shape) => shape?.mesh.top));
    at("legend").hidden = !painted;
    if (painted && viewer.fixedTop === null) at("top").value = Number(viewer.top.toPrecision(2));
  }

  /** Say which colour is which part, and let each be hidden. */
  function partsLegend(sides) {
    const parts = new Map(sides.flatMap((shape) => shape?.mesh.parts ?? []).map((part) => [part.name, part.colour]));
    at("parts").hidden = !parts.size || !viewer;
    at("parts").replaceChildren();
    for (const [name, colour] of parts) {
      const label = at("parts").appendChild(document.createElement("label"));
      const box = label.appendChild(document.createElement("input"));
      box.type = "checkbox";
      box.checked = !viewer?.hidden.has(name);
      box.addEventListener("change", () => viewer.setHidden(name, !box.checked));
      const swatch = label.appendChild(document.createElement("span"));
      swatch.className = "swatch";
      swatch.style.background = colour;
      label.append(` ${name}`);
    }
  }

  function paint() {
    const top = at("top").valueAsNumber;
    viewer?.setPaint(at("paint").checked, top > 0 ? top : null);
  }

  const KEYS = {
    ArrowLeft: () => viewer.turn(0.1, 0),
    ArrowRight: () => viewer.turn(-0.1, 0),
    ArrowUp: () => viewer.turn(0, 0.1),
    ArrowDown: () => viewer.turn(0, -0.1),
    "+": () => viewer.zoom(1.15),
    "=": () => viewer.zoom(1.15),
    "-": () => viewer.zoom(1 / 1.15),
    0: () => look("anterior"),
    n: () => choice(table.neighbour(1)),
    p: () => choice(table.neighbour(-1)),
    ...Object.fromEntries(Object.keys(VIEWS).map((name, k) => [k + 1, () => look(name)])),
  };

  function look(name) {
    at("view").value = name;
    viewer.look(name);
  }

  canvas.addEventListener("drawn", scale);
  try {
    viewer = new Viewer(canvas, data);
  } catch {
    canvas.parentElement.hidden = true;
    at("no-webgl").hidden = false;
  }
  choose(left, []);
  choose(right, [
    ...(shapes.some((shape) => shape.beside) ? [["beside", "what belongs beside it"]] : []),
    ["", "nothing"],
  ]);
  table = new Table(at("table"), at("count"), data, choice);
  if (data.paint) drawBar();
  for (const select of [left, right]) select.addEventListener("change", show);
  at("view").addEventListener("change", () => viewer?.look(at("view").value));
  for (const input of ["paint", "top"]) at(input).addEventListener("change", paint);
  at("reset").addEventListener("click", () => viewer && look("anterior"));
  at("save").addEventListener("click", async () => {
    const shape = named(left);
    if (shape) save(`${shape.id}.stl`, new Blob([stl(shape.mesh, await unpacked(shape.mesh))], { type: "model/stl" }));
  });
  at("picture").addEventListener("click", () => canvas.toBlob((blob) => save("shapes.png", blob)));
  canvas.addEventListener("keydown", (event) => {
    const action = event.ctrlKey || event.metaKey || event.altKey ? null : KEYS[event.key];
    if (!action || !viewer) return;
    event.preventDefault();
    action();
  });
  show();
})();
