// A confusion matrix whose cells are buttons: Tab reaches it, the arrow keys go from cell to cell, Enter opens one.

const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text; // never as HTML: labels come from strangers
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

const describe = (count, label, column, right) => {
  const clips = `${count} ${count === 1 ? "clip" : "clips"} of ${label}`;
  return right ? `${clips}, correct` : `${clips}, predicted as ${column}`;
};

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".matrix");
  const drawn = JSON.stringify(data);
  if (root.dataset.drawn === drawn) return;
  root.dataset.drawn = drawn;

  const { labels, columns, counts } = data;
  const table = element("table");
  const hint = element("p", "True class down, predicted class across. Open a cell to see its clips.", { id: "hint" });
  table.setAttribute("aria-describedby", "hint");
  const longest = Math.max(...columns.map((name) => name.length));
  const few = columns.length <= 7 && longest <= 14;
  table.className = few ? "few" : "many";
  const head = element("tr");
  head.append(element("td", "", { style: "background:none" }));
  for (const column of columns) {
    const cell = element("th", undefined, { scope: "col", title: column });
    cell.append(element("span", column));
    head.append(cell);
  }
  const thead = element("thead");
  thead.append(head);
  const body = element("tbody");
  labels.forEach((label, row) => {
    const support = counts[row].reduce((sum, count) => sum + count, 0);
    const line = element("tr");
    const name = element("th", label, { scope: "row", title: label });
    name.append(element("small", String(support)));
    line.append(name);
    columns.forEach((column, place) => {
      const cell = element("td");
      const count = counts[row][place];
      if (count > 0) {
        const right = label === column;
        const share = count / support;
        const button = element("button", String(count), {
          "aria-label": describe(count, label, column, right),
          "aria-pressed": "false",
          "data-row": row,
          "data-column": place,
        });
        const strong = share > 0.75;
        button.className = strong ? "strong" : "";
        button.style.setProperty("--share", share);
        button.style.setProperty("--tint", right ? "#1f6fb2" : "#c2570c");
        button.onclick = () => {
          for (const other of table.querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
          button.setAttribute("aria-pressed", "true");
          setStateValue("cell", [row, place]);
        };
        cell.append(button);
      }
      line.append(cell);
    });
    body.append(line);
  });
  table.append(thead, body);

  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  table.onkeydown = (event) => {
    const move = moves[event.key];
    if (!move || !event.target.dataset.row) return;
    event.preventDefault();
    let [row, place] = [Number(event.target.dataset.row), Number(event.target.dataset.column)];
    do {
      [row, place] = [row + move[0], place + move[1]];
      const next = table.querySelector(`button[data-row="${row}"][data-column="${place}"]`);
      if (next) return next.focus();
    } while (row >= 0 && place >= 0 && row < labels.length && place < columns.length);
  };
  root.replaceChildren(hint, table);
}
