const key = (row, column) => row.cells[column].textContent.trim().replaceAll("−", "-");

function compare(a, b, column, sign) {
  const one = key(a, column), other = key(b, column);
  if (!one || !other) return !one - !other;  // missing values come last in both directions
  const x = parseFloat(one), y = parseFloat(other);
  return sign * (x === x && y === y && x !== y ? x - y : one.localeCompare(other, undefined, { numeric: true }));
}

document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
  const head = button.parentElement, table = head.closest("table"), body = table.tBodies[0];
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  body.append(...[...body.rows].sort((a, b) => compare(a, b, head.cellIndex, ascending ? 1 : -1)));
}));
