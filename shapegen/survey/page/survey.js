"use strict";
/* One shape at a time. The page knows opaque names and the reader's own answers, nothing else. */

const $ = (id) => document.getElementById(id);
const SCREENS = ["welcome", "work", "paused", "finished"];
const AHEAD = 3; /* shapes that are fetched before they are shown, so that a lost connection is not seen at once */

const stage = new Stage($("stage"));
const form = $("form");
const meshes = new Map();
let state = null;
let outbox = null;
let at = 0;
let spent = 0; /* milliseconds that the present shape was looked at */
let since = null; /* when it came into sight, or null */

const item = () => state.items[at];
const firstOpen = () => state.items.findIndex(({ id }) => !Object.hasOwn(state.answers, id));

function screen(name) {
  for (const each of SCREENS) $(each).hidden = each !== name;
  $("pause").hidden = name !== "work";
  if (name !== "work") stopClock();
}

function complain(text) {
  $("alert").textContent = text;
  $("alert").hidden = !text;
}

function startClock() {
  if (since === null && !document.hidden && !$("work").hidden && $("loading").hidden) since = performance.now();
}

function stopClock() {
  if (since !== null) spent += performance.now() - since;
  since = null;
}

/* randomUUID is there on https only. */
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function progress() {
  const done = state.items.filter(({ id }) => Object.hasOwn(state.answers, id)).length;
  $("bar").max = state.items.length;
  $("bar").value = done;
  $("count").textContent = `${done} of ${state.items.length}`;
}

function sent(waiting, problem) {
  $("sent").textContent = waiting ? `${waiting} not sent yet` : "all answers saved";
  $("sent").classList.toggle("waiting", Boolean(waiting));
  complain(problem && (waiting ? `The server was ${problem}. Your answers are kept in this browser; you may go on.` : problem));
  if (!$("finished").hidden) finish();
}

async function post(answers) {
  const reply = await fetch("answers", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": state.csrf },
    body: JSON.stringify({ answers }),
  });
  if (!reply.ok) throw new Error(`error ${reply.status}`);
  return reply.json();
}

/* Fetches until it succeeds: a shape that is late is no reason to lose one's place. */
async function fetched(id) {
  for (let wait = 1; ; wait = Math.min(30, 2 * wait)) {
    try {
      const reply = await fetch(`items/${id}`);
      if (reply.ok) return await reply.arrayBuffer();
      if (reply.status === 404) throw new TypeError("this shape is not there");
    } catch (error) {
      if (id === item().id) $("loading").textContent = "waiting for the server";
    }
    await new Promise((done) => setTimeout(done, 1000 * wait));
  }
}

function meshFor(id) {
  if (!meshes.has(id)) meshes.set(id, fetched(id));
  return meshes.get(id);
}

async function display() {
  const { id, practice } = item();
  stopClock();
  spent = 0;
  screen("work");
  progress();
  $("which").textContent = practice ? `Shape ${at + 1} of ${state.items.length}, to practise: it does not count` : `Shape ${at + 1} of ${state.items.length}`;
  $("back").disabled = at === 0;
  fill(state.answers[id]);
  stage.clear();
  $("loading").textContent = "loading";
  $("loading").hidden = false;
  window.scrollTo(0, 0);
  const near = state.items.slice(at, at + 1 + AHEAD).map((each) => each.id);
  for (const key of meshes.keys()) if (!near.includes(key)) meshes.delete(key);
  const mesh = await meshFor(id);
  if (item().id !== id) return;
  stage.show(mesh);
  $("loading").hidden = true;
  startClock();
  for (const next of near) await meshFor(next);
}

function fill(answer) {
  form.reset();
  for (const name of ["choice", "confidence"]) if (answer) form.elements[name].value = String(answer[name]);
  for (const box of $("reasons").querySelectorAll("input")) box.checked = Boolean(answer?.reasons.includes(box.value));
  $("comment").value = answer?.comment ?? "";
}

function submit(event) {
  event.preventDefault();
  const [choice, confidence] = [form.elements.choice.value, Number(form.elements.confidence.value)];
  if (!$("loading").hidden) return complain("Please wait for the shape.");
  if (!choice || !confidence) return complain(choice ? "Please say how sure you are." : "Please choose real or synthetic.");
  complain("");
  stopClock();
  const reasons = [...$("reasons").querySelectorAll(":checked")].map((box) => box.value);
  const answer = { choice, confidence, reasons, comment: $("comment").value.trim() };
  state.answers[item().id] = answer;
  outbox.add({ answer: newId(), item: item().id, ...answer, seconds: Math.min(86400, spent / 1000) });
  onward();
}

function onward() {
  progress();
  const next = state.items.findIndex(({ id }, k) => k > at && !Object.hasOwn(state.answers, id));
  at = next >= 0 ? next : firstOpen();
  if (at >= 0) display();
  else finish();
}

function finish() {
  at = state.items.length - 1;
  screen("finished");
  const waiting = outbox.waiting.length;
  $("done").textContent = waiting
    ? `You have answered all ${state.items.length}, but ${waiting} answers are not at the server yet. Please leave this page open until they are.`
    : `You have answered all ${state.items.length}, and every answer is saved. You may close this page.`;
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || $("work").hidden || event.target === $("comment")) return;
  const name = event.key.toLowerCase();
  const [field, value] = name === "r" ? ["choice", "real"] : name === "s" ? ["choice", "synthetic"]
    : /^[1-5]$/.test(name) ? ["confidence", name] : [];
  if (field) form.elements[field].value = value;
  else if (name === "enter" && !(event.target instanceof HTMLButtonElement)) form.requestSubmit();
  else return;
  event.preventDefault();
}

function begin() {
  at = firstOpen();
  if (at < 0) finish();
  else display();
}

async function start() {
  const reply = await fetch("state.json");
  if (!reply.ok) throw new Error(`error ${reply.status}`);
  state = await reply.json();
  outbox = new Outbox(`shapegen-survey ${location.pathname}`, post, sent);
  for (const { item: id, choice, confidence, reasons, comment } of outbox.waiting) state.answers[id] = { choice, confidence, reasons, comment };
  document.title = $("title").textContent = `Reader study: ${state.organ}`;
  for (const place of document.querySelectorAll(".organ")) place.textContent = state.organ;
  const practice = state.items.filter((each) => each.practice).length;
  $("practising").textContent = practice ? `The first ${practice} shapes are to practise on; they do not count.` : "";
  for (const reason of state.reasons) {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value: reason });
    const label = document.createElement("label");
    label.append(box, reason);
    $("reasons").append(label);
  }
  form.addEventListener("submit", submit);
  $("back").addEventListener("click", () => { if (at > 0) { at -= 1; display(); } });
  $("pause").addEventListener("click", () => screen("paused"));
  $("resume").addEventListener("click", () => { screen("work"); startClock(); });
  $("review").addEventListener("click", display);
  $("start").addEventListener("click", begin);
  document.addEventListener("visibilitychange", () => (document.hidden ? stopClock() : startClock()));
  document.addEventListener("keydown", press);
  progress();
  outbox.flush();
  if (firstOpen() < 0) finish();
  else screen("welcome");
  $("start").textContent = Object.keys(state.answers).length ? "Go on" : "Start";
  if (!stage.works) complain("This browser cannot show shapes in three dimensions (WebGL). Please use another one.");
}

start().catch((error) => complain(`The study could not be loaded (${error.message}). Please check your link and try again.`));
