"use strict";
// The slider: what any threshold gives, from the points that were measured; without it the page shows each model's own.
(() => {
  const data = JSON.parse(document.getElementById("points").textContent);
  const slider = document.getElementById("slider");
  const shown = document.getElementById("threshold");
  if (!slider) return;

  const share = ([missed, of, low, high]) => of
    ? `${(100 * missed / of).toFixed(1)} % <small>${Math.round(100 * low)} to ${Math.round(100 * high)} % · ${missed} of ${of}</small>` : "–";
  const rate = ([count, hours, low, high]) => hours
    ? `${(count / hours).toFixed(2)} <small>${low.toFixed(1)} to ${high.toFixed(1)} · ${count}</small>` : "–";

  const update = () => {
    const threshold = Number(slider.value) / 1000;
    shown.textContent = threshold.toFixed(3);
    data.forEach((points, number) => {
      // the nearest measured point: they lie closest where something changes
      const point = points.reduce((best, each) =>
        Math.abs(each.t - threshold) < Math.abs(best.t - threshold) ? each : best);
      document.querySelectorAll(`td[data-model="${number}"]`).forEach((cell) => {
        const kind = cell.dataset.kind, row = Number(cell.dataset.row);
        cell.innerHTML = kind === "missed" ? share(point.missed[row]) : rate(point.fired[row]);
      });
      point.marks.forEach(([line, x, y]) => {
        const dot = document.querySelector(`#mark-${line} use`);
        dot.setAttribute("x", x);
        dot.setAttribute("y", y);
      });
    });
  };
  slider.addEventListener("input", update);
  document.getElementById("slide").hidden = false;
})();
