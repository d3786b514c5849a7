"use strict";

/* A table of shapes that is filtered by column and sorted by a click on a title. */

const COMPARISONS = { ">": (a, b) => a > b, "<": (a, b) => a < b, ">=": (a, b) => a >= b, "<=": (a, b) => a <= b, "=": (a, b) => a === b };

/** What a filter's text asks of a cell, or null where it cannot be read. */
function condition(text, numeric) {
  const wanted = text.trim();
  if (!wanted) return () => true;
  const number = "([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)";
  const range = wanted.match(new RegExp(`^${number}\\s*(?:\\.\\.|to)\\s*${number}$`, "i"));
  const bound = wanted.match(new RegExp(`^(>=|<=|>|<|=)?\\s*${number}$`, "i"));
  if (numeric) {
    if (range) return (value) => value !== null && value >= Number(range[1]) && value <= Number(range[2]);
    if (bound) return (value) => value !== null && COMPARISONS[bound[1] ?? "="](value, Number(bound[2]));
    return null;
  }
  return (value) => shownText(value).toLowerCase().includes(wanted.toLowerCase());
}

function shownText(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const digits = Math.max(0, Math.min(5, 3 - Math.floor(Math.log10(Math.abs(value)))));
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

class Table {
  /**
   * @param element the `table`, with two rows in its head.
   * @param count the element that says how many rows are shown.
   * @param chosen called with the row that a person chooses.
   */
  constructor(element, count, data, chosen) {
    Object.assign(this, { element, count, chosen, rows: data.shapes, sorted: null, current: null });
    const titles = [{ name: "name" }, { name: "kind" }, ...data.columns];
    this.columns = titles.map((column, place) => ({
      ...column,
      title: column.unit ? `${column.name} [${column.unit}]` : column.name,
      value: (row) => (place === 0 ? row.id : place === 1 ? row.kind : row.measures[place - 2]),
    }));
    for (const column of this.columns)
      column.numeric = this.rows.some((row) => typeof column.value(row) === "number");
    this.head();
    this.update();
  }

  head() {
    const [titles, filters] = this.element.tHead.rows;
    for (const column of this.columns) {
      const title = titles.appendChild(document.createElement("th"));
      title.scope = "col";
      column.header = title;
      const button = title.appendChild(document.createElement("button"));
      button.type = "button";
      button.textContent = column.title;
      if (column.about) button.title = column.about;
      button.addEventListener("click", () => this.sort(column));
      const input = filters.appendChild(document.createElement("td")).appendChild(document.createElement("input"));
      input.type = "search";
      input.setAttribute("aria-label", `filter by ${column.title}`);
      column.input = input;
      input.addEventListener("input", () => this.update());
    }
  }

  sort(column) {
    this.descending = this.sorted === column && !this.descending;
    this.sorted = column;
    for (const each of this.columns) each.header.removeAttribute("aria-sort");
    column.header.setAttribute("aria-sort", this.descending ? "descending" : "ascending");
    this.update();
  }

  update() {
    const asked = this.columns.map((column) => {
      const found = condition(column.input.value, column.numeric);
      column.input.setAttribute("aria-invalid", String(found === null));
      return found ?? (() => true);
    });
    this.shown = this.rows.filter((row) => this.columns.every((column, k) => asked[k](column.value(row) ?? null)));
    if (this.sorted) {
      const { value } = this.sorted;
      const sign = this.descending ? -1 : 1;
      const known = this.shown.filter((row) => (value(row) ?? null) !== null);
      known.sort((a, b) => sign * (typeof value(a) === "string" ? value(a).localeCompare(value(b), "en", { numeric: true }) : value(a) - value(b)));
      this.shown = [...known, ...this.shown.filter((row) => (value(row) ?? null) === null)];
    }
    this.element.tBodies[0].replaceChildren(...this.shown.map((row) => this.line(row)));
    this.count.textContent = `${this.shown.length} of ${this.rows.length} shapes.`;
  }

  line(row) {
    const line = document.createElement("tr");
    if (row === this.current) line.setAttribute("aria-current", "true");
    this.columns.forEach((column, place) => {
      const cell = line.appendChild(document.createElement(place ? "td" : "th"));
      if (place) {
        cell.textContent = shownText(column.value(row));
        if (column.numeric) cell.className = "number";
        return;
      }
      cell.scope = "row";
      if (!row.mesh) return void (cell.textContent = row.id);
      const button = cell.appendChild(document.createElement("button"));
      button.type = "button";
      button.textContent = row.id;
      button.addEventListener("click", () => this.chosen(row));
    });
    return line;
  }

  mark(row) {
    this.current = row;
    for (const line of this.element.tBodies[0].rows) line.removeAttribute("aria-current");
    const place = this.shown.indexOf(row);
    if (place >= 0) this.element.tBodies[0].rows[place].setAttribute("aria-current", "true");
  }

  /** The row that comes `step` rows after the marked one and can be shown. */
  neighbour(step) {
    const rows = this.shown.filter((row) => row.mesh);
    const place = rows.indexOf(this.current);
    return rows[place < 0 ? 0 : (place + step + rows.length) % rows.length];
  }
}
