"use strict";
const collator = new Intl.Collator("en", { numeric: true });

function sort(header) {
  const table = header.closest("table"), body = table.tBodies[0];
  const place = header.cellIndex;
  const order = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const key = (row) => row.cells[place].dataset.sort ?? row.cells[place].textContent;
  const missing = (text) => text === "" || text === "–";
  const rows = [...body.rows].sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (missing(a) || missing(b)) return missing(a) - missing(b); // last, whatever the order
    const [x, y] = [Number(a), Number(b)];
    return order * (isNaN(x) || isNaN(y) ? collator.compare(a, b) : x - y);
  });
  body.append(...rows);
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
}

for (const button of document.querySelectorAll("th[aria-sort] button"))
  button.addEventListener("click", () => sort(button.closest("th")));

// On paper nothing can be opened.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});

// A link may lead into what is closed.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target?.closest("details");
  if (details && !details.open) {
    details.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", reveal);
reveal();
