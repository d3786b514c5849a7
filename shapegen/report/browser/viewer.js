"use strict";

/* Two shapes beside each other, at one scale and under one camera, in one canvas. Millimetres; right, front, head. */

const KIND_COLOURS = { generated: 0xde8e34, real: 0x6082a8 };
const OTHER_COLOUR = 0x8a9a5b;
/** Where the camera stands, as `shapegen.report.render` has it; exactly above or below there would be no up. */
const VIEWS = {
  anterior: [0, 1, 0],
  posterior: [0, -1, 0],
  left: [-1, 0, 0],
  right: [1, 0, 0],
  superior: [0, 0.001, 1],
  inferior: [0, 0.001, -1],
};

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
}

async function inflated(base64) {
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

/** Undo `shapegen.report.packing.pack`: positions in mm from the middle of the box, corners, and values or null. */
async function unpacked(mesh) {
  if (mesh.parts) return composed(mesh, await Promise.all(mesh.parts.map(unpacked)));
  const buffer = await inflated(mesh.data);
  const { vertices, faces } = mesh;
  const numbers = new Uint16Array(buffer.slice(0, 6 * (vertices + faces)));
  const positions = new Float32Array(3 * vertices);
  for (let axis = 0; axis < 3; axis++)
    for (let i = 0, whole = 0; i < vertices; i++) {
      whole = (whole + numbers[axis * vertices + i]) & 0xffff;
      positions[3 * i + axis] = mesh.corner[axis] + whole * mesh.step;
    }
  const corners = new Uint32Array(3 * faces);
  const start = 3 * vertices;
  for (let i = 0, first = 0; i < faces; i++) {
    first = (first + numbers[start + i]) & 0xffff;
    corners[3 * i] = first;
    corners[3 * i + 1] = (first + numbers[start + faces + i]) & 0xffff;
    corners[3 * i + 2] = (first + numbers[start + 2 * faces + i]) & 0xffff;
  }
  const left = new Uint8Array(buffer.slice(6 * (vertices + faces)));
  const values = left.length ? Float32Array.from(left, (value) => (value / 255) * mesh.largest) : null;
  return { positions, corners, values };
}

/** Put the parts of a composed shape together: besides, the colour of each vertex, and which corners are whose. */
function composed(mesh, parts) {
  const whole = { positions: new Float32Array(3 * mesh.vertices), corners: new Uint32Array(3 * mesh.faces), values: null };
  whole.tints = new Float32Array(3 * mesh.vertices);
  whole.parts = [];
  let [vertex, corner] = [0, 0];
  mesh.parts.forEach((part, k) => {
    const { positions, corners } = parts[k];
    const tint = new THREE.Color(part.colour);
    for (let i = 0; i < positions.length; i++)
      whole.positions[3 * vertex + i] = positions[i] + part.middle[i % 3] - mesh.middle[i % 3];
    for (let i = 0; i < part.vertices; i++) tint.toArray(whole.tints, 3 * (vertex + i));
    corners.forEach((each, i) => (whole.corners[corner + i] = each + vertex));
    whole.parts.push({ name: part.name, start: corner, end: corner + corners.length });
    vertex += part.vertices;
    corner += corners.length;
  });
  return whole;
}

/** A binary STL of an unpacked mesh, in mm, where the whole one lies. */
function stl(mesh, { positions, corners }) {
  const view = new DataView(new ArrayBuffer(84 + 50 * mesh.faces));
  [..."shapegen SPACE=RAS UNIT=mm, thinned out"].forEach((sign, i) => view.setUint8(i, sign.charCodeAt(0)));
  view.setUint32(80, mesh.faces, true);
  for (let face = 0; face < mesh.faces; face++) {
    const points = [0, 1, 2].map((k) =>
      new THREE.Vector3().fromArray(positions, 3 * corners[3 * face + k]).add(new THREE.Vector3(...mesh.middle)),
    );
    const [a, b, c] = points;
    const normal = b.clone().sub(a).cross(c.clone().sub(a)).normalize();
    [normal, a, b, c].forEach((each, row) =>
      each.toArray().forEach((value, axis) => view.setFloat32(84 + 50 * face + 12 * row + 4 * axis, value, true)),
    );
  }
  return view.buffer;
}

/** Half the diagonal of a shape's box, mm, less the corners, which no organ reaches. */
function size(shape) {
  return 0.8 * Math.hypot(...shape.mesh.corner);
}

class Viewer {
  /** @param data what `shapegen.report.viewer` wrote; raises where there is no WebGL. */
  constructor(canvas, data) {
    this.canvas = canvas;
    this.paint = data.paint;
    this.colours = data.paint ? bytesOf(data.paint.colours) : null;
    this.painted = true;
    this.fixedTop = null;
    this.hidden = new Set(); // names of parts
    this.loaded = new Map();
    this.sides = [null, null];
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, preserveDrawingBuffer: true });
    this.renderer.setScissorTest(true);
    this.renderer.setClearColor(0xffffff);
    this.camera = new THREE.OrthographicCamera();
    this.camera.up.set(0, 0, 1);
    this.scenes = [0, 1].map(() => this.emptyScene());
    this.controls = new THREE.OrbitControls(this.camera, canvas);
    this.controls.enablePan = false;
    this.controls.enableZoom = false; // a page that is scrolled past must not zoom
    this.controls.addEventListener("change", () => this.draw());
    canvas.addEventListener("focus", () => (this.controls.enableZoom = true));
    canvas.addEventListener("blur", () => (this.controls.enableZoom = false));
    this.all = Math.max(...data.shapes.filter((shape) => shape.mesh).map(size));
    this.radius = this.all;
    this.look("anterior");
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  emptyScene() {
    const scene = new THREE.Scene();
    const key = new THREE.DirectionalLight(0xffffff, 2.2);
    const fill = new THREE.DirectionalLight(0xffffff, 0.5);
    scene.add(key, key.target, fill, fill.target, new THREE.HemisphereLight(0xffffff, 0x9aa0a8, 1.0));
    return Object.assign(scene, { lights: [key, fill], mesh: null });
  }

  /** Show shapes (or null) on the two sides. */
  async show(...sides) {
    this.sides = sides;
    for (const shape of sides)
      if (shape && !this.loaded.has(shape.id)) this.loaded.set(shape.id, await unpacked(shape.mesh));
    if (this.sides !== sides) return; // another choice came while this one was unpacked
    this.place();
    const largest = Math.max(...sides.filter(Boolean).map(size));
    this.radius = largest < this.all / 3 ? largest : this.all; // one scale for all, unless these are tiny by it
    this.camera.position.setLength(10 * this.radius);
    this.draw();
  }

  /** Put the chosen shapes into their scenes, in their colours. */
  place() {
    this.sides.forEach((shape, side) => this.placeOne(this.scenes[side], shape));
  }

  placeOne(scene, shape) {
    if (scene.mesh) {
      scene.remove(scene.mesh);
      scene.mesh.geometry.dispose();
      scene.mesh.material.dispose();
      scene.mesh = null;
    }
    if (!shape) return;
    const { positions, corners, values, tints, parts } = this.loaded.get(shape.id);
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(positions, 3));
    geometry.setIndex(new THREE.BufferAttribute(corners, 1));
    geometry.computeVertexNormals();
    if (parts) geometry.setIndex(new THREE.BufferAttribute(this.visible(corners, parts), 1));
    const shades = tints ?? (this.painted && this.paint && values ? this.shades(values) : null);
    if (shades) geometry.setAttribute("color", new THREE.BufferAttribute(shades, 3));
    const material = new THREE.MeshStandardMaterial({
      color: shades ? 0xffffff : (KIND_COLOURS[shape.kind] ?? OTHER_COLOUR),
      vertexColors: Boolean(shades),
      roughness: 0.65,
      side: THREE.DoubleSide,
    });
    scene.mesh = new THREE.Mesh(geometry, material);
    scene.add(scene.mesh);
  }

  /** The corners of the parts that are not hidden. */
  visible(corners, parts) {
    const shown = parts.filter((part) => !this.hidden.has(part.name));
    return Uint32Array.from(shown.flatMap((part) => [...corners.subarray(part.start, part.end)]));
  }

  /** Show or hide the parts of one name. */
  setHidden(name, hidden) {
    this.hidden[hidden ? "add" : "delete"](name);
    this.place();
    this.draw();
  }

  /** The value of the last colour: as set, or the 99 % quantile of the shapes that are shown; 0 if none is painted. */
  get top() {
    return this.fixedTop ?? Math.max(0, ...this.sides.map((shape) => shape?.mesh.top ?? 0));
  }

  shades(values) {
    const colour = new THREE.Color();
    const shades = new Float32Array(3 * values.length);
    values.forEach((value, i) => {
      const at = 3 * Math.round(255 * Math.min(1, value / this.top));
      colour.setRGB(this.colours[at] / 255, this.colours[at + 1] / 255, this.colours[at + 2] / 255, "srgb");
      colour.toArray(shades, 3 * i);
    });
    return shades;
  }

  /** @param top the value of the last colour; null leaves it to the shapes. */
  setPaint(painted, top) {
    this.painted = painted;
    this.fixedTop = top;
    this.place();
    this.draw();
  }

  /** Look from a named side, at the standard size. */
  look(name) {
    this.camera.position.fromArray(VIEWS[name]).multiplyScalar(10 * this.radius);
    this.camera.zoom = 1;
    this.controls.update();
    this.draw();
  }

  turn(right, up) {
    const place = new THREE.Spherical().setFromVector3(
      new THREE.Vector3(this.camera.position.x, this.camera.position.z, -this.camera.position.y),
    );
    place.theta += right;
    place.phi += up;
    const turned = new THREE.Vector3().setFromSpherical(place.makeSafe());
    this.camera.position.set(turned.x, -turned.z, turned.y);
    this.controls.update();
    this.draw();
  }

  zoom(factor) {
    this.camera.zoom = Math.min(20, Math.max(0.2, this.camera.zoom * factor));
    this.draw();
  }

  /** Draw both sides, and say how many pixels a millimetre has. */
  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setPixelRatio(window.devicePixelRatio);
    this.renderer.setSize(width, height, false);
    const sides = this.sides[1] ? 2 : 1;
    const part = width / sides;
    const across = this.radius * Math.max(1, part / height);
    const half = across * (height / part);
    Object.assign(this.camera, { left: -across, right: across, top: half, bottom: -half, near: 0, far: 40 * this.radius });
    this.camera.updateProjectionMatrix();
    for (let side = 0; side < 2; side++) {
      const wide = side < sides ? part : 0;
      const scene = this.scenes[side];
      const aside = new THREE.Vector3(1, 0, 0).applyQuaternion(this.camera.quaternion);
      scene.lights[0].position.copy(this.camera.position).addScaledVector(aside, -4 * this.radius);
      scene.lights[0].position.addScaledVector(this.camera.up, 4 * this.radius);
      scene.lights[1].position.copy(this.camera.position).addScaledVector(aside, 12 * this.radius);
      this.renderer.setViewport(side * part, 0, wide, height);
      this.renderer.setScissor(side * part, 0, wide, height);
      if (wide) this.renderer.render(scene, this.camera);
    }
    this.canvas.dispatchEvent(new CustomEvent("drawn", { detail: part / (2 * across) * this.camera.zoom }));
  }
}
