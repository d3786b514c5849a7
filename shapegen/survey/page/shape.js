"use strict";
/* What the server sends of a shape, for the viewer; and all ways to turn and zoom it: mouse, fingers, keys. */

const STEP_MM = 1 / 64;
const LENGTHS_MM = [50, 20, 10, 5, 2, 1];
const BAR_SHARE = 0.7; /* of the width; the cross of axes takes the left quarter */

/* Makes vertices, normals and corners of triangles in steps of 1/64 mm, as `Viewer.show` wants them. */
function meshOf(triangles) {
  const steps = new Int16Array(triangles);
  const corners = new Uint16Array(steps.length / 3);
  const numbers = new Map();
  const places = [];
  for (let k = 0; k < corners.length; k += 1) {
    const [x, y, z] = [steps[3 * k], steps[3 * k + 1], steps[3 * k + 2]];
    const key = ((x + 32768) * 65536 + (y + 32768)) * 65536 + (z + 32768); /* 48 bits: exact */
    let number = numbers.get(key);
    if (number === undefined) {
      number = numbers.size;
      numbers.set(key, number);
      places.push(x * STEP_MM, y * STEP_MM, z * STEP_MM);
    }
    corners[k] = number;
  }
  const vertices = numbers.size;
  const packed = new ArrayBuffer(8 + 24 * vertices + 2 * corners.length);
  new Uint32Array(packed, 0, 2).set([vertices, corners.length / 3]);
  new Float32Array(packed, 8, 3 * vertices).set(places);
  new Float32Array(packed, 8 + 12 * vertices, 3 * vertices).set(normalsOf(places, corners));
  new Uint16Array(packed, 8 + 24 * vertices, corners.length).set(corners);
  return packed;
}

/* Normals of the vertices: of the faces around, by their area. */
function normalsOf(places, corners) {
  const normals = new Float32Array(places.length);
  for (let k = 0; k < corners.length; k += 3) {
    const [a, b, c] = [3 * corners[k], 3 * corners[k + 1], 3 * corners[k + 2]];
    const [ux, uy, uz] = [places[b] - places[a], places[b + 1] - places[a + 1], places[b + 2] - places[a + 2]];
    const [vx, vy, vz] = [places[c] - places[a], places[c + 1] - places[a + 1], places[c + 2] - places[a + 2]];
    const normal = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    for (const corner of [a, b, c]) for (let axis = 0; axis < 3; axis += 1) normals[corner + axis] += normal[axis];
  }
  for (let k = 0; k < normals.length; k += 3) {
    const length = Math.hypot(normals[k], normals[k + 1], normals[k + 2]) || 1;
    for (let axis = 0; axis < 3; axis += 1) normals[k + axis] /= length;
  }
  return normals;
}

/* The viewer with a scale bar, fingers and keys. */
class Stage {
  constructor(figure) {
    this.figure = figure;
    this.canvas = figure.querySelector("#viewer");
    this.viewer = new Viewer(this.canvas, figure.querySelector("#axes"));
    this.fingers = new Map();
    /* Before the viewer's own: that knows one pointer only. */
    figure.addEventListener("pointermove", (event) => this.move(event), { capture: true });
    figure.addEventListener("pointerdown", (event) => this.fingers.set(event.pointerId, event), { capture: true });
    for (const end of ["pointerup", "pointercancel"]) {
      figure.addEventListener(end, (event) => this.fingers.delete(event.pointerId), { capture: true });
    }
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    for (const change of ["wheel", "dblclick"]) this.canvas.addEventListener(change, () => this.measure());
    for (const [name, factor] of [["closer", 1.25], ["farther", 0.8]]) {
      figure.querySelector(`#${name}`).addEventListener("click", () => this.zoom(factor));
    }
    figure.querySelector("#reset").addEventListener("click", () => this.reset());
    new ResizeObserver(() => this.measure()).observe(this.canvas);
  }

  get works() { return Boolean(this.viewer.gl); }

  show(triangles) {
    this.viewer.show(meshOf(triangles));
    this.measure();
  }

  clear() { this.viewer.clear(); }

  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before || event.target !== this.canvas) return;
    event.stopPropagation();
    const [x, y] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (this.fingers.size === 1) {
      this.viewer.drag(x / this.canvas.clientWidth, y / this.canvas.clientHeight);
    } else {
      const other = [...this.fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
      const apart = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
      this.zoom(apart(event) / Math.max(1, apart(before)));
    }
    this.fingers.set(event.pointerId, event);
  }

  key(event) {
    const turns = { ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0], ArrowUp: [0, -0.05], ArrowDown: [0, 0.05] };
    if (turns[event.key]) this.viewer.drag(...turns[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.15);
    else if (event.key === "-") this.zoom(1 / 1.15);
    else if (event.key === "0") this.reset();
    else return;
    event.preventDefault();
  }

  zoom(factor) {
    this.viewer.zoom = Math.min(12, Math.max(0.4, this.viewer.zoom * factor));
    this.viewer.draw();
    this.measure();
  }

  reset() {
    this.viewer.reset();
    this.viewer.draw();
    this.measure();
  }

  /* The longest of some bars that leaves the cross of axes alone. */
  measure() {
    const { far, zoom } = this.viewer;
    const perMillimetre = far ? (0.94 * zoom) / far / 2 : 0;
    const length = LENGTHS_MM.find((each) => each * perMillimetre <= BAR_SHARE) ?? LENGTHS_MM.at(-1);
    this.figure.querySelector("#scalebar").style.width = `${length * perMillimetre * this.canvas.clientWidth}px`;
    this.figure.querySelector("#millimetres").textContent = `${length} mm`;
    this.figure.querySelector("#scale").hidden = !perMillimetre;
  }
}
