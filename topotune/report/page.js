"use strict";
// Draws the plots of the page in its own colours, and shows or hides topographies in plots and tables alike.
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const drawings = [...document.querySelectorAll("[data-plot]")];
  const boxes = [...document.querySelectorAll("#filter input")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const NARROW = 640; // pixels: from here on the legend stands beside a plot, not under it
  const PAPER = 680; // pixels, the width of a printed plot
  const LIGHT = { text: "#1c1f23", quiet: "#59616b", line: "#d5d9de", page: "#ffffff" };
  const DARK = { text: "#e4e7ea", quiet: "#a3abb5", line: "#3a4048", page: "#16191d" };
  const CONFIG = {
    responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    showSendToCloud: false, plotlyServerURL: "", // nothing of a study leaves its page
  };
  let round = 0; // of drawing: a later one ends an earlier one

  const hidden = () => new Set(boxes.filter((box) => !box.checked).map((box) => box.value));

  // The control is drawn in the colour of the text.
  const painted = (trace, look) => {
    const colour = trace.meta?.topography === "none" ? look.text : trace.meta?.neutral ? look.quiet : null;
    if (!colour) return trace;
    const own = { ...trace, marker: { ...trace.marker, color: colour }, line: { ...trace.line, color: colour } };
    if (trace.fillcolor) own.fillcolor = colour;
    if (trace.error_x) own.error_x = { ...trace.error_x, color: colour };
    return own;
  };

  const dressed = (layout, look, width) => {
    const own = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      dragmode: width < NARROW ? false : "zoom", // a finger scrolls
      font: { color: look.text, family: "system-ui, sans-serif", size: 13 },
      hoverlabel: { bgcolor: look.page, font: { color: look.text } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: look.quiet, activecolor: look.text },
      margin: { l: 60, r: 20, t: 30, b: 50 },
      legend: width < NARROW ? { orientation: "h", y: -0.3 } : { x: 1.02, y: 1 },
      ...layout,
    };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      own[name] = { gridcolor: look.line, linecolor: look.line, zeroline: false, automargin: true, ...layout[name] };
    }
    if (layout.shapes) {
      own.shapes = layout.shapes.map((shape) => ({ ...shape, line: { ...shape.line, color: look.quiet } }));
    }
    return own;
  };

  const draw = async (drawing, look, width) => {
    if (!drawing.offsetParent) return; // hidden: it has no size
    const { data, layout } = plots[drawing.dataset.plot];
    const gone = hidden();
    const traces = data.filter((trace) => !gone.has(trace.meta?.topography)).map((trace) => painted(trace, look));
    const own = dressed(layout, look, width ?? drawing.clientWidth);
    await Plotly.react(drawing, traces, width ? { ...own, width } : own, CONFIG);
  };

  const drawAll = async () => {
    const mine = ++round;
    for (const drawing of drawings) {
      await draw(drawing, dark.matches ? DARK : LIGHT);
      await new Promise((next) => setTimeout(next)); // the page can be scrolled meanwhile
      if (mine !== round) return;
    }
    document.documentElement.dataset.drawn = drawings.length;
  };

  const filter = () => {
    const gone = hidden();
    for (const one of document.querySelectorAll("[data-topography]")) one.hidden = gone.has(one.dataset.topography);
    const count = boxes.length - gone.size;
    document.getElementById("shown").textContent = `${count} of ${boxes.length} shown`;
    delete document.documentElement.dataset.drawn;
    drawAll();
  };

  for (const box of boxes) box.addEventListener("change", filter);
  document.getElementById("all")?.addEventListener("click", () => {
    for (const box of boxes) box.checked = true;
    filter();
  });
  dark.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => { for (const one of drawings) draw(one, LIGHT, PAPER); });
  addEventListener("afterprint", async () => {
    await drawAll();
    for (const one of drawings) if (one.offsetParent) Plotly.Plots.resize(one); // to the width of the screen
  });
  if (boxes.some((box) => !box.checked)) filter(); // a browser may remember them
  else drawAll();
})();
