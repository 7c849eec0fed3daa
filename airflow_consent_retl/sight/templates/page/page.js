// Follows the colours that Airflow's user chose, and leaves Airflow's frame for links to Airflow's own pages.
"use strict";
(() => {
  const root = document.documentElement;
  const follow = () => {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
    else delete root.dataset.theme;
  };
  try {
    follow();
    addEventListener("storage", follow);
  } catch {
    // A browser that keeps nothing: the reader's own setting decides.
  }
  if (self === top) return;
  root.classList.add("framed");
  addEventListener("click", (event) => {
    const link = event.target.closest("a[data-airflow]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    // The frame may not navigate Airflow, but Airflow's own document may follow a link.
    const own = parent.document.createElement("a");
    own.href = link.href;
    parent.document.body.append(own);
    own.click();
    own.remove();
  });
})();
