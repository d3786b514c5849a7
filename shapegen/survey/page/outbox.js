"use strict";
/* Answers on their way. Each lies in the browser's own store until the server has it on its disk. */

class Outbox {
  /* `key` in the store; `send(list)` returns { saved, refused }; `changed(waiting, problem)` is told of every change. */
  constructor(key, send, changed) {
    this.key = key;
    this.send = send;
    this.changed = changed;
    this.memory = null; /* where there is no store (private windows): until the page is closed */
    this.busy = false;
    this.wait = 0;
    window.addEventListener("online", () => this.flush());
    window.addEventListener("beforeunload", (event) => { if (this.waiting.length) event.preventDefault(); });
  }

  get waiting() {
    if (this.memory) return this.memory;
    try {
      return JSON.parse(localStorage.getItem(this.key) ?? "[]");
    } catch {
      return [];
    }
  }

  set waiting(list) {
    if (!this.memory) {
      try {
        localStorage.setItem(this.key, JSON.stringify(list));
        return;
      } catch { /* full or forbidden */ }
    }
    this.memory = list;
  }

  add(answer) {
    this.waiting = [...this.waiting, answer];
    this.flush();
  }

  async flush() {
    clearTimeout(this.timer);
    const list = this.waiting;
    if (this.busy || !list.length) {
      if (!this.busy) this.changed(0, "");
      return;
    }
    this.busy = true;
    this.changed(list.length, "");
    let problem = "";
    try {
      const { saved, refused } = await this.send(list.slice(0, 100));
      const done = new Set([...saved, ...Object.keys(refused)]);
      /* Another window of this reader may have added some meanwhile. */
      this.waiting = this.waiting.filter((answer) => !done.has(answer.answer));
      if (Object.keys(refused).length) problem = `not accepted: ${Object.values(refused)[0]}`;
      this.wait = 0;
    } catch (error) {
      this.wait = Math.min(30, this.wait ? 2 * this.wait : 1);
      problem = `not reached (${error.message}); trying again`;
    }
    this.busy = false;
    const left = this.waiting.length;
    this.changed(left, problem);
    if (left) this.timer = setTimeout(() => this.flush(), 1000 * this.wait);
  }
}
