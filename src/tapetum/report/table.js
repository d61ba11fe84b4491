"use strict";
// Builds the table of a report, a part at a time, in the order of the doubt or of a column.
const PART = 100;
const element = (id) => document.getElementById(id);

function startTable(table) {
  const body = element("rows"), more = element("more"), search = element("search"), count = element("count");
  const texts = table.rows.map((row) => [...row.cells, row.trouble].join(" ").toLowerCase());
  let order = table.rows.map((_, k) => k), sorted = null, down = true, filled = 0;

  function compare(a, b, column) {
    const [one, two] = [table.rows[a].cells[column], table.rows[b].cells[column]];
    if (one === null || two === null) return (one === null) - (two === null);
    const way = typeof one === "number" && typeof two === "number" ? one - two
      : String(one).localeCompare(String(two), undefined, { numeric: true });
    return down ? -way : way;
  }

  function refresh() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    order = table.rows.map((_, k) => k).filter((k) => words.every((word) => texts[k].includes(word)));
    if (sorted !== null) order.sort((a, b) => compare(a, b, sorted) || a - b);
    count.textContent = order.length === texts.length ? `${texts.length} rows` : `${order.length} of ${texts.length} rows`;
    body.replaceChildren();
    filled = 0;
    fill();
  }

  function fill() {
    body.append(...order.slice(filled, filled + PART).map(line));
    filled = Math.min(filled + PART, order.length);
    more.hidden = filled === order.length;
  }

  function line(k) {
    const row = table.rows[k], made = document.createElement("tr");
    if (row.trouble) made.className = "trouble";
    if (table.images) {
      const cell = made.insertCell();
      cell.className = "first";
      if (table.images[k]) {
        const image = document.createElement("img");
        image.alt = "";
        image.tabIndex = 0;
        image.src = "data:image/jpeg;base64," + table.images[k];
        const enlarge = (event) => { event.stopPropagation(); element("large").firstElementChild.src = image.src; element("large").showModal(); };
        image.addEventListener("click", enlarge);
        image.addEventListener("keydown", (event) => { if (event.key === "Enter") enlarge(event); });
        cell.append(image);
      }
    }
    row.cells.slice(0, row.trouble ? 1 : undefined).forEach((value, column) => {
      const cell = made.insertCell(), { name, digits } = table.columns[column];
      cell.dataset.column = name;
      cell.className = digits === null ? "text" : "number";
      cell.textContent = value === null ? "" : typeof value === "number" ? value.toFixed(digits ?? 0) : value;
    });
    if (row.trouble) Object.assign(made.insertCell(), { colSpan: table.columns.length, textContent: row.trouble });
    return made;
  }

  const heads = element("heads");
  if (table.images) heads.append(document.createElement("th"));
  table.columns.forEach((column, number) => {
    const head = document.createElement("th"), button = document.createElement("button");
    button.textContent = column.name;
    button.addEventListener("click", () => {
      down = sorted === number ? !down : column.digits !== null;
      sorted = number;
      for (const each of heads.children) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      refresh();
    });
    if (column.digits !== null) head.className = "number";
    head.append(button);
    heads.append(head);
  });
  search.addEventListener("input", refresh);
  element("reset").addEventListener("click", () => {
    sorted = null;
    for (const each of heads.children) each.removeAttribute("aria-sort");
    refresh();
  });
  more.addEventListener("click", fill);
  new IntersectionObserver((seen) => { if (seen.some((each) => each.isIntersecting) && filled < order.length) fill(); }).observe(more);
  element("large").addEventListener("click", () => element("large").close());
  refresh();
}

startTable(JSON.parse(element("data").textContent).table);
