// Theme, sorting and filtering. Everything on the page is there without this, sorted by the board.
// What is filtered and sorted stands in the address: #find=videomae&without=status.reported&sort=TRACK.roc_auc.down
"use strict";
(() => {
  const root = document.documentElement;
  const memory = {
    key: "seizure-bench-theme",
    get() { try { return localStorage.getItem(this.key); } catch { return null; } },
    set(theme) { try { localStorage.setItem(this.key, theme); } catch { /* forbidden: the choice ends with the page */ } },
  };
  root.classList.add("js");
  if (["light", "dark"].includes(memory.get())) root.dataset.theme = memory.get();

  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  function themeButton() {
    const button = document.getElementById("theme");
    const say = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      memory.set(root.dataset.theme);
      say();
    });
    system.addEventListener("change", say);
    say();
  }

  // A table whose headings are buttons; rows come back in the board's order with the third click.
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  function sortable(table, told) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const rows = [...body.rows];
    let current = null;

    function valueOf(row, at, kind) {
      const cell = row.cells[at];
      if (kind === "number") return "v" in cell.dataset ? Number(cell.dataset.v) : null;
      const text = cell.textContent.trim();
      return ["", "-", "—", "not stated"].includes(text) ? null : text;
    }
    function sort(key, way) {
      const at = heads.findIndex((head) => head.dataset.key === key);
      const before = current;
      current = at >= 0 && ["up", "down"].includes(way) ? { key, way } : null;
      if (!before && !current) return; // the board's order, as it stands
      for (const head of heads) {
        const on = current && head.dataset.key === key;
        head.setAttribute("aria-sort", !on ? "none" : way === "up" ? "ascending" : "descending");
      }
      let sorted = rows;
      if (current) {
        const kind = heads[at].dataset.sort;
        const sign = way === "up" ? 1 : -1;
        const compare = kind === "number" ? (a, b) => a - b : collator.compare;
        const known = rows.map((row) => [valueOf(row, at, kind), row]);
        const missing = known.filter(([value]) => value === null);
        const there = known.filter(([value]) => value !== null).sort(([a], [b]) => sign * compare(a, b));
        sorted = [...there, ...missing].map(([, row]) => row);
      }
      body.append(...sorted);
    }
    for (const head of heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const key = head.dataset.key;
        const ways = head.classList.contains("up") ? ["up", "down", null] : ["down", "up", null];
        const way = ways[(current && current.key === key ? ways.indexOf(current.way) + 1 : 0) % 3];
        sort(key, way);
        told(way ? `Sorted by ${button.textContent}, ${way === "up" ? "ascending" : "descending"}.` : "In the board's order.");
      });
    }
    return { name: table.dataset.track, rows, sort, get state() { return current; } };
  }

  function board() {
    const find = document.getElementById("find");
    const shots = document.getElementById("shots");
    const status = document.getElementById("told");
    const boxes = [...document.querySelectorAll("#controls input[name]")];
    const tables = [...document.querySelectorAll("table[data-track]")].map((table) => sortable(table, (what) => { count(what); write(); }));
    const rows = tables.flatMap((table) => table.rows);
    const words = new Map();

    function text(row) {
      if (!words.has(row)) {
        const cells = [row.cells[0], ...row.querySelectorAll("td.text")];
        words.set(row, cells.map((cell) => cell.textContent).join(" ").replace(/\s+/g, " ").toLowerCase());
      }
      return words.get(row);
    }
    function count(what) {
      const shown = rows.filter((row) => !row.hidden).length;
      status.textContent = `${shown} of ${rows.length} rows shown. ${what || ""}`.trim();
    }
    function apply() {
      const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      const without = boxes.filter((box) => !box.checked);
      for (const row of rows) {
        row.hidden = without.some((box) => row.dataset[box.name] === box.value) || !wanted.every((word) => text(row).includes(word));
      }
      for (const section of document.querySelectorAll(".track")) {
        section.querySelector(".no-rows").hidden = Boolean(section.querySelector("tbody tr:not([hidden])"));
        section.classList.toggle("fold", !shots.checked);
      }
      count();
    }
    function write() {
      const state = new URLSearchParams();
      const without = boxes.filter((box) => !box.checked).map((box) => `${box.name}.${box.value}`);
      const sorted = tables.filter((table) => table.state).map((table) => [table.name, table.state.key, table.state.way].join("."));
      if (find.value) state.set("find", find.value);
      if (without.length) state.set("without", without.join(","));
      if (shots.checked) state.set("shots", "each");
      if (sorted.length) state.set("sort", sorted.join(","));
      history.replaceState(null, "", String(state) ? `#${state}` : location.href.split("#")[0]);
    }
    function read() {
      if (location.hash && !location.hash.includes("=")) return; // a jump to a heading
      const state = new URLSearchParams(location.hash.slice(1));
      const without = (state.get("without") || "").split(",");
      const sorted = (state.get("sort") || "").split(",").map((part) => part.split("."));
      find.value = state.get("find") || "";
      shots.checked = state.get("shots") === "each";
      for (const box of boxes) box.checked = !without.includes(`${box.name}.${box.value}`);
      for (const table of tables) {
        const [, key, way] = sorted.find(([name]) => name === table.name) || [];
        table.sort(key, way);
      }
    }
    const changed = () => { apply(); write(); };
    find.addEventListener("input", changed);
    for (const box of [...boxes, shots]) box.addEventListener("change", changed);
    document.getElementById("reset").addEventListener("click", () => {
      find.value = "";
      for (const box of boxes) box.checked = true;
      changed();
    });
    window.addEventListener("hashchange", () => { read(); apply(); });
    read();
    apply();
  }

  document.addEventListener("DOMContentLoaded", () => {
    themeButton();
    if (document.getElementById("controls")) board();
  });
})();
