"use strict";
/* One shape at a time. The server has the truth: nothing moves on before a decision is on its disk. */

const CLASSES = [
  ["ok", "complete"],
  ["cut", "cut off by the scan or a plane"],
  ["require_edit", "crumbs, holes, ragged parts, staircase"],
  ["nope", "not the organ, or beyond repair"],
  ["not_sure", "unclear"],
];
const VIEWS = ["anterior", "inferior", "left"];
const $ = (id) => document.getElementById(id);
const viewer = new Viewer($("viewer"), $("axes"));

let items = [];
let decisions = {};
let unreadable = 0;
let queue = []; /* places in items that are shown */
let at = 0; /* place in queue */
let busy = false;
let noting = Promise.resolve(); /* a note that is being saved */
const past = []; /* what to go back to: [place in items, decision before] */
const drafts = new Map(); /* notes on undecided items */

const current = () => items[queue[at]];
const decided = (item) => (Object.hasOwn(decisions, item.id) ? decisions[item.id] : null);
const final = (item) => decided(item)?.verdict ?? item.automatic;

function element(tag, text, style) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (style) made.className = style;
  return made;
}

function round(value) {
  return Number(value.toPrecision(4)).toString();
}

function complain(text) {
  $("alert").textContent = text;
  $("alert").hidden = !text;
}

/* Fills the queue anew; the item at `keep` stays in it, so that what was just decided can be seen again. */
function choose(keep) {
  const [show, wanted] = [$("show").value, $("class").value];
  const here = queue[at];
  queue = [...items.keys()].filter((k) => {
    if (k === keep) return true;
    const done = decided(items[k]) !== null;
    return (show === "all" || (show === "done") === done) && (!wanted || final(items[k]) === wanted);
  });
  const target = keep ?? here;
  const place = queue.findIndex((k) => k >= target);
  at = target === undefined ? 0 : Math.max(0, place);
  display();
}

function display() {
  const done = items.filter(decided).length;
  $("bar").max = Math.max(1, items.length);
  $("bar").value = done;
  $("count").textContent = `${done} of ${items.length} decided`;
  $("work").hidden = !queue.length;
  $("empty").hidden = Boolean(queue.length);
  $("undo").disabled = !past.length;
  if (!queue.length) {
    const rest = unreadable ? ` ${unreadable} files could not be read; the report lists them.` : "";
    $("nothing").textContent = done === items.length
      ? `Every shape is decided.${rest} Press Finish to write the report and the lists.`
      : `No such shape.${rest}`;
    return;
  }
  const item = current();
  const decision = decided(item);
  $("name").textContent = item.id;
  $("file").textContent = `${item.file} (${at + 1} of ${queue.length} shown)`;
  $("said").replaceChildren("As read ", element("span", item.verdict, `tag ${item.verdict}`));
  if (item.after_repair) $("said").append(" after repair ", element("span", item.after_repair, `tag ${item.after_repair}`));
  const likely = Object.entries(item.probability ?? {}).filter(([, share]) => share >= 0.005).sort((a, b) => b[1] - a[1]);
  $("likely").textContent = likely.length
    ? `Probability: ${likely.map(([name, share]) => `${name} ${Math.round(100 * share)} %`).join(", ")}` : "";
  const reasons = item.findings.map((finding) => {
    const line = element("li", "");
    const mended = finding.mended ? ", mended" : "";
    const measured = `${round(finding.measure)}, threshold ${round(finding.threshold)}${mended}`;
    line.append(element("strong", finding.check), ` (${measured}): ${finding.text}`);
    return line;
  });
  reasons.push(...item.repairs.map((repair) => element("li", `repaired: ${repair.text}`)));
  reasons.push(...Object.entries(item.repeats ?? {}).map(([name, mm]) => element("li", `scan of the same organ: ${name} (${mm.toFixed(1)} mm apart)`)));
  $("reasons").replaceChildren(...(reasons.length ? reasons : [element("li", "no check objects")]));
  $("note").value = drafts.get(item.id) ?? decision?.note ?? "";
  for (const button of $("buttons").children) button.setAttribute("aria-pressed", String(decision?.verdict === button.value));
  $("agree").disabled = Boolean(decision);
  draw(queue[at]);
}

async function draw(number) {
  if (draw.shown === number) return;
  draw.shown = number;
  viewer.clear();
  for (const view of VIEWS) $(view).classList.add("waiting");
  /* The shape to turn is there before the pictures are drawn. */
  if (viewer.gl) {
    try {
      const answer = await fetch(`items/${number}/mesh`);
      const mesh = answer.ok ? await answer.arrayBuffer() : null;
      if (mesh && draw.shown === number) viewer.show(mesh);
    } catch { /* the pictures say so */ }
  }
  if (draw.shown !== number) return;
  await Promise.all(VIEWS.map((view) => picture($(view), number, view)));
  /* The server keeps what it has drawn: the next shape is then there at once. */
  const next = queue[at + 1];
  if (next === undefined) return;
  for (const part of ["mesh", ...VIEWS.map((view) => `${view}.png`)]) {
    if (draw.shown === number) await fetch(`items/${next}/${part}`).then((answer) => answer.blob()).catch(() => {});
  }
}

function picture(image, number, view) {
  return new Promise((done) => {
    image.onload = () => {
      if (draw.shown === number) image.classList.remove("waiting");
      done();
    };
    image.onerror = () => {
      if (draw.shown === number) complain("This shape could not be drawn.");
      done();
    };
    image.src = `items/${number}/${view}.png`;
    image.alt = `${items[number].id}, ${view} view`;
  });
}

async function send(path, body) {
  busy = true;
  try {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    complain("");
    return true;
  } catch (error) {
    complain(error instanceof TypeError
      ? "Not saved: the server does not answer. Is `shapegen curate --review` still running?" : `Not saved: ${error.message}`);
    return false;
  } finally {
    busy = false;
  }
}

/* Keeps a decision, or takes it back (null). */
async function keep(item, decision) {
  if (busy || !(await send("decide", { id: item.id, verdict: decision?.verdict ?? null, note: decision?.note ?? "" }))) return false;
  if (decision) decisions[item.id] = decision;
  else delete decisions[item.id];
  drafts.delete(item.id);
  return true;
}

async function decide(verdict) {
  await noting;
  if (!queue.length || busy) return;
  const [item, number] = [current(), queue[at]];
  const before = decided(item);
  if (!(await keep(item, { verdict, note: $("note").value.trim() }))) return;
  past.push([number, before]);
  choose();
  /* Shown on among all or the decided: go on by hand. */
  if (queue[at] === number) move(1);
}

async function undo() {
  await noting;
  if (!past.length || busy) return;
  const [number, before] = past.at(-1);
  if (!(await keep(items[number], before))) return;
  past.pop();
  choose(number);
}

function move(step) {
  at = Math.min(queue.length - 1, Math.max(0, at + step));
  display();
}

async function note() {
  if (!queue.length) return;
  const item = current();
  const decision = decided(item);
  const text = $("note").value.trim();
  if (!decision) drafts.set(item.id, $("note").value);
  else if (decision.note !== text) await keep(item, { ...decision, note: text });
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || (event.repeat && !event.key.startsWith("Arrow"))) return;
  if (event.target === $("note")) {
    if (event.key === "Escape") $("note").blur();
    return;
  }
  if (event.target instanceof HTMLSelectElement) return;
  const on = event.target instanceof HTMLButtonElement;
  const place = "12345".indexOf(event.key);
  if (event.key.length === 1 && place >= 0) decide(CLASSES[place][0]);
  else if (event.key === "ArrowLeft") move(-1);
  else if (event.key === "ArrowRight") move(1);
  else if (event.key === "u") undo();
  else if (event.key === "n") $("note").focus();
  else if (event.key === "Enter" && !on && queue.length && !decided(current())) decide(current().automatic);
  else return;
  event.preventDefault();
}

async function finish() {
  await noting;
  if (!(await send("finish", {}))) return;
  for (const part of document.querySelectorAll("main, header")) part.hidden = true;
  complain("The review has ended; report.html and the lists are being written. This page may be closed.");
}

async function start() {
  for (const [verdict, meaning] of CLASSES) {
    const button = element("button", "", verdict);
    button.value = verdict;
    button.append(element("kbd", String(CLASSES.findIndex(([name]) => name === verdict) + 1)), element("strong", verdict), element("span", meaning));
    button.addEventListener("click", () => { button.blur(); decide(verdict); });
    $("buttons").append(button);
    const option = element("option", verdict);
    option.value = verdict;
    $("class").append(option);
  }
  if (!viewer.gl) $("turning").hidden = true;
  const answer = await fetch("state.json");
  if (!answer.ok) throw new Error(await answer.text());
  const state = await answer.json();
  ({ items, decisions, unreadable } = state);
  $("title").textContent = document.title = `Review: ${state.organ}`;
  for (const id of ["show", "class"]) $(id).addEventListener("change", () => { $(id).blur(); choose(); });
  for (const [id, act] of [["agree", () => queue.length && decide(current().automatic)], ["previous", () => move(-1)],
    ["next", () => move(1)], ["undo", undo], ["finish", finish]]) {
    $(id).addEventListener("click", () => { $(id).blur(); act(); });
  }
  $("note").addEventListener("change", () => { noting = note(); });
  document.addEventListener("keydown", press);
  choose();
}

start().catch((error) => complain(`The shapes could not be loaded: ${error.message}`));
