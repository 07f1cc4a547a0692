"use strict";
// Draws the plots of the page in its own colours, and shows or hides topographies in plots and tables alike.
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const drawings = [...document.querySelectorAll("[data-plot]")];
  const boxes = [...document.querySelectorAll("#filter input")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const NARROW = 640; // pixels: from here on the legend stands beside a plot, not under it
  const USUAL = 430; // pixels, the height of a plot
  const LEAST = 150; // pixels, of a small panel
  const SCALE = 0.22; // of a panel's width: its scale of colours
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

  // Small panels in rows of as many as there is room for, each under its title and beside its scale of colours.
  const arranged = (traces, layout, width) => {
    const { columns: most, gap } = layout.meta.grid;
    const titles = layout.annotations;
    const columns = Math.min(most, Math.max(1, Math.floor(width / LEAST)));
    const rows = Math.ceil(titles.length / columns);
    const across = (1 - gap * (columns - 1)) / columns, up = (1 - (0.3 * (rows - 1)) / rows) / rows;
    const own = { ...layout, height: (layout.height * rows) / Math.ceil(titles.length / most) };
    const panels = titles.map((title, place) => {
      const left = (place % columns) * (across + gap), top = 1 - Math.floor(place / columns) * (up + 0.3 / rows);
      return { left, right: left + across, top, bottom: Math.max(top - up, 0) };
    });
    const place = (axis) => panels[(axis.slice(1) || 1) - 1];
    const scaled = traces.filter((trace) => trace.marker?.colorbar).map((trace) => trace.xaxis);
    for (const [at, panel] of panels.entries()) {
      const number = at ? at + 1 : "";
      const right = scaled.includes(`x${number}`) ? panel.right - across * SCALE : panel.right;
      own[`xaxis${number}`] = { ...layout[`xaxis${number}`], domain: [panel.left, right] };
      own[`yaxis${number}`] = { ...layout[`yaxis${number}`], domain: [panel.bottom, panel.top] };
    }
    own.annotations = titles.map((title, at) => ({ ...title, x: panels[at].left, y: panels[at].top }));
    const seen = traces.map((trace) => {
      if (!trace.marker?.colorbar) return trace;
      const { right, top, bottom } = place(trace.xaxis);
      const [wide, high] = trace.meta.extent;
      const scale = Math.min((width * across * (1 - SCALE)) / wide, ((own.height - own.margin.t - own.margin.b) * up) / high);
      const marker = { ...trace.marker, size: Math.max(scale * trace.meta.side, 3) };
      marker.colorbar = {
        ...marker.colorbar, x: right - across * SCALE * 0.9, y: (top + bottom) / 2, len: 0.9 * (top - bottom),
      };
      return { ...trace, marker };
    });
    return [seen, own];
  };

  const dressed = (layout, look, width) => {
    const own = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      dragmode: width < NARROW ? false : "zoom", // a finger scrolls
      font: { color: look.text, family: "system-ui, sans-serif", size: 13 },
      hoverlabel: { bgcolor: look.page, font: { color: look.text } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: look.quiet, activecolor: look.text },
      margin: { l: 60, r: 20, t: 30, b: 50 },
      legend: width < NARROW ? { orientation: "h" } : { x: 1.02, y: 1 },
      ...layout,
    };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      own[name] = { gridcolor: look.line, linecolor: look.line, zeroline: false, automargin: true, ...layout[name] };
    }
    if (layout.annotations) { // one that has a ground has the page's
      own.annotations = layout.annotations.map((one) => (one.bgcolor ? { ...one, bgcolor: look.page } : one));
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
    const wide = width ?? drawing.clientWidth;
    let traces = data.filter((trace) => !gone.has(trace.meta?.topography)).map((trace) => painted(trace, look));
    let own = dressed(layout, look, wide);
    if (layout.meta?.grid) [traces, own] = arranged(traces, own, wide - own.margin.l - own.margin.r);
    if (own.legend.orientation === "h") own.legend = { ...own.legend, y: -0.3 * Math.min(1, USUAL / own.height) };
    drawing.style.height = `${own.height}px`;
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
