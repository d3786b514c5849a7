"use strict";
/* A shape that can be turned: WebGL without libraries. `new Viewer(canvas, axes)`, then `show(buffer)`. */

const VERTEX = `
attribute vec3 place, normal; uniform mat3 turn; uniform float scale, depth; varying vec3 towards;
void main() { towards = turn * normal; vec3 p = turn * place; gl_Position = vec4(p.xy * scale, -p.z * depth, 1.0); }`;
const FRAGMENT = `
precision mediump float; varying vec3 towards;
void main() {
  vec3 n = normalize(towards);
  if (n.z < 0.0) n = -n;
  float light = 0.3;
  light += 0.62 * max(0.0, (dot(n, normalize(vec3(-0.45, 0.6, 0.66))) + 0.35) / 1.35);
  light += 0.16 * max(0.0, (dot(n, normalize(vec3(0.7, -0.1, 0.5))) + 0.35) / 1.35);
  float rim = 0.72 + 0.28 * pow(n.z, 0.6);
  gl_FragColor = vec4(vec3(0.376, 0.51, 0.659) * 1.12 * light * rim, 1.0);
}`;
/* Rows: the picture's right, its up, and towards the viewer, in right, anterior, superior: the anterior view. */
const ANTERIOR = [[-1, 0, 0], [0, 0, 1], [0, 1, 0]];
const ENDS = [["R", [1, 0, 0]], ["L", [-1, 0, 0]], ["A", [0, 1, 0]], ["P", [0, -1, 0]], ["S", [0, 0, 1]], ["I", [0, 0, -1]]];

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const times = (a, b) => a.map((row) => [0, 1, 2].map((k) => row[0] * b[0][k] + row[1] * b[1][k] + row[2] * b[2][k]));

class Viewer {
  constructor(canvas, axes) {
    this.canvas = canvas;
    this.axes = axes;
    this.reset();
    this.gl = canvas.getContext("webgl", { antialias: true, alpha: true });
    if (!this.gl) return;
    this.prepare();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => { this.prepare(); if (this.shape) this.show(this.shape); });
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) this.drag(event.movementX / canvas.clientWidth, event.movementY / canvas.clientHeight);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom = Math.min(12, Math.max(0.4, this.zoom * Math.exp(-event.deltaY / 600)));
      this.draw();
    }, { passive: false });
    canvas.addEventListener("dblclick", () => { this.reset(); this.draw(); });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  reset() {
    this.turn = ANTERIOR;
    this.zoom = 1;
  }

  prepare() {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    this.uniforms = Object.fromEntries(["turn", "scale", "depth"].map((name) => [name, gl.getUniformLocation(program, name)]));
    this.attributes = ["place", "normal"].map((name) => [gl.getAttribLocation(program, name), gl.createBuffer()]);
    this.corners = gl.createBuffer();
  }

  /* Shows what the server packed: counts of vertices and faces, vertices, normals, corners. */
  show(buffer) {
    if (!this.gl) return;
    this.shape = buffer;
    const gl = this.gl;
    const [vertices, faces] = new Uint32Array(buffer, 0, 2);
    const places = new Float32Array(buffer, 8, 3 * vertices);
    const normals = new Float32Array(buffer, 8 + 12 * vertices, 3 * vertices);
    [places, normals].forEach((data, k) => {
      const [attribute, store] = this.attributes[k];
      gl.bindBuffer(gl.ARRAY_BUFFER, store);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(attribute);
      gl.vertexAttribPointer(attribute, 3, gl.FLOAT, false, 0, 0);
    });
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.corners);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, new Uint16Array(buffer, 8 + 24 * vertices, 3 * faces), gl.STATIC_DRAW);
    this.count = 3 * faces;
    let far = 1e-9;
    for (let k = 0; k < places.length; k += 3) far = Math.max(far, Math.hypot(places[k], places[k + 1], places[k + 2]));
    this.far = far;
    this.reset();
    this.draw();
  }

  clear() {
    this.shape = null;
    this.count = 0;
    this.draw();
  }

  drag(x, y) {
    const [a, b] = [x * 4, y * 4];
    const across = [[Math.cos(a), 0, Math.sin(a)], [0, 1, 0], [-Math.sin(a), 0, Math.cos(a)]];
    const down = [[1, 0, 0], [0, Math.cos(b), -Math.sin(b)], [0, Math.sin(b), Math.cos(b)]];
    this.turn = times(times(down, across), this.turn);
    this.draw();
  }

  draw() {
    const gl = this.gl;
    if (!gl) return;
    const size = Math.max(1, Math.round(this.canvas.clientWidth * (window.devicePixelRatio || 1)));
    for (const canvas of [this.canvas, this.axes]) {
      if (canvas.width !== size) canvas.width = canvas.height = size;
    }
    gl.viewport(0, 0, size, size);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (this.count) {
      /* WebGL reads matrices column by column. */
      gl.uniformMatrix3fv(this.uniforms.turn, false, [0, 1, 2].flatMap((k) => this.turn.map((row) => row[k])));
      gl.uniform1f(this.uniforms.scale, 0.94 * this.zoom / this.far);
      gl.uniform1f(this.uniforms.depth, 0.94 / this.far); /* without the zoom: that would cut the front off */
      gl.drawElements(gl.TRIANGLES, this.count, gl.UNSIGNED_SHORT, 0);
    }
    this.letter(size);
  }

  letter(size) {
    const pen = this.axes.getContext("2d");
    const [middle, length] = [0.12 * size, 0.06 * size];
    pen.clearRect(0, 0, size, size);
    pen.font = `${Math.round(size / 28)}px sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.strokeStyle = "#98a2ab";
    pen.fillStyle = "#3a434b";
    for (const [name, axis] of ENDS) {
      const [x, y, z] = this.turn.map((row) => dot(row, axis));
      if (z < -0.35) continue; /* the ends that point away would only stand in the way */
      const [right, top] = [middle + length * x, size - middle - length * y];
      pen.beginPath();
      pen.moveTo(middle, size - middle);
      pen.lineTo(right, top);
      pen.stroke();
      if (Math.hypot(x, y) > 0.3) pen.fillText(name, middle + 1.4 * length * x, size - middle - 1.4 * length * y);
    }
  }
}
