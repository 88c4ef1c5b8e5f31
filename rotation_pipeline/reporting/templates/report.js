(function () {
  "use strict";
  var shared = JSON.parse(document.getElementById("shared").textContent);
  var figures = {};
  var narrow = function () { return window.innerWidth < 560; };
  var media = window.matchMedia("(prefers-color-scheme: dark)");
  var printing = false;

  function dark() {
    if (printing) return false;
    var chosen = document.documentElement.getAttribute("data-theme");
    return chosen ? chosen === "dark" : media.matches;
  }

  // a deep copy in which every colour of the light edition is its dark twin
  function themed(value) {
    if (typeof value === "string") {
      if (dark() && /^#[0-9a-f]{6}([0-9a-f]{2})?$/.test(value)) {
        var twin = shared.dark[value.slice(0, 7)];
        return twin ? twin + value.slice(7) : value;
      }
      return value;
    }
    if (Array.isArray(value)) return value.map(themed);
    if (value && typeof value === "object") {
      var copy = {};
      Object.keys(value).forEach(function (key) { copy[key] = themed(value[key]); });
      return copy;
    }
    return value;
  }

  // what a figure's layout keeps under meta for phones or for its edition before costs, laid over the layout
  function overlay(under, over) {
    Object.keys(over || {}).forEach(function (key) {
      var inner = over[key] && typeof over[key] === "object" && !Array.isArray(over[key]);
      if (inner && under[key]) overlay(under[key], over[key]);
      else under[key] = over[key];
    });
  }

  function inEdition(own, trace) {
    return !own.edition || !trace.meta || !trace.meta.edition || trace.meta.edition === own.edition;
  }

  function edition(id) {
    var own = figures[id];
    var made = themed(own.figure);
    made.data.forEach(function (trace, place) { trace.visible = inEdition(own, trace) ? own.shown[place] : false; });
    var layout = made.layout;
    var kept = layout.meta || {};
    if (own.edition) overlay(layout, kept[own.edition]);
    if (narrow() && !printing) overlay(layout, kept.narrow);
    layout.showlegend = false;
    layout.dragmode = false;
    layout.autosize = true;
    var paper = getComputedStyle(document.documentElement);
    layout.hoverlabel = Object.assign(layout.hoverlabel || {}, {
      bgcolor: printing ? "#ffffff" : paper.getPropertyValue("--paper").trim(),
      bordercolor: printing ? "#999999" : paper.getPropertyValue("--muted").trim()
    });
    // the caption carries the badge on the page; the one inside the figure is for figures taken elsewhere
    layout.annotations = (layout.annotations || []).filter(function (note) { return note.name !== "badge"; });
    if (!layout.annotations.some(function (note) { return note.yref === "paper" && note.y === 1; })) layout.margin.t = 10;
    if (own.log !== null) layout.yaxis.type = own.log ? "log" : "linear";
    if (narrow() && !printing) {
      layout.font.size = 11;
      layout.margin.r = 4;
      made.data.forEach(function (trace) { if (trace.textfont) trace.textfont.size = 10; });
      Object.keys(layout).filter(function (key) { return /^[xy]axis/.test(key); }).forEach(function (key) {
        if (layout[key].title && /^y/.test(key)) layout[key].title.text = "";
      });
    }
    return made;
  }

  var config = { displayModeBar: false, responsive: true, displaylogo: false, showTips: false, scrollZoom: false, doubleClick: false };

  function draw(id) {
    var made = edition(id);
    return Plotly.react(document.getElementById(id), made.data, made.layout, config);
  }

  function colourOf(trace) {
    var line = trace.line || {}, marker = trace.marker || {};
    var colour = trace.mode === "markers" || trace.type === "bar" ? marker.color : (trace.stackgroup ? trace.fillcolor : line.color);
    return typeof colour === "string" ? themed(colour) : "currentColor";
  }

  function swatch(trace) {
    var colour = colourOf(trace);
    var solid = trace.type === "bar" || trace.stackgroup || trace.mode === "markers";
    if (solid) return '<svg width="11" height="11" aria-hidden="true"><rect width="11" height="11" fill="' + colour + '"/></svg>';
    var line = trace.line || {};
    var dash = { dot: "2 3", dash: "6 3" }[line.dash] || "none";
    return '<svg width="20" height="8" aria-hidden="true"><line x1="0" x2="20" y1="4" y2="4" stroke="' + colour + '" stroke-width="' + Math.max(1.4, line.width || 1.5) + '" stroke-dasharray="' + dash + '"/></svg>';
  }

  function legend(id) {
    var own = figures[id];
    var box = document.querySelector('[data-legend="' + id + '"]');
    if (!own.figure.layout.showlegend) return;
    box.textContent = "";
    own.figure.data.map(function (trace, place) { return { trace: trace, place: place }; })
      .filter(function (item) { return item.trace.name && !(item.trace.meta && item.trace.meta.legend === false); })
      .filter(function (item) { return inEdition(own, item.trace); })
      .sort(function (a, b) { return (a.trace.legendrank || 1000) - (b.trace.legendrank || 1000); })
      .forEach(function (item) {
        var button = document.createElement("button");
        button.type = "button";
        button.innerHTML = swatch(item.trace);
        button.appendChild(document.createTextNode(item.trace.name));
        var band = item.trace.meta && item.trace.meta.key === "band";
        if (band) button.disabled = true;
        else button.setAttribute("aria-pressed", String(own.shown[item.place] === true));
        button.addEventListener("click", function () {
          var state = own.shown[item.place] === true ? "legendonly" : true;
          var book = item.trace.meta && item.trace.meta.book;
          own.figure.data.forEach(function (trace, place) {
            if (place === item.place || (book && trace.meta && trace.meta.book === book)) own.shown[place] = state;
          });
          draw(id);
          legend(id);
        });
        box.appendChild(button);
      });
  }

  function all() { Object.keys(figures).forEach(function (id) { draw(id); legend(id); }); }

  // data behind a chart, one row a point
  function rowsOf(figure) {
    var rows = [["series", "x", "y", "z", "text"]];
    var cell = function (value) { return value === null || value === undefined ? "" : String(value).replace(/<br>/g, " ").replace(/<[^>]*>/g, ""); };
    figure.data.forEach(function (trace) {
      if (trace.meta && (trace.meta.key === "band" || trace.meta.copy)) return;
      if (trace.type === "heatmap") {
        trace.z.forEach(function (line, i) {
          line.forEach(function (z, j) {
            rows.push([cell(trace.name), cell(trace.x[j]), cell(trace.y[i]), cell(z), cell(trace.text && trace.text[i][j])]);
          });
        });
        return;
      }
      (trace.x || []).forEach(function (x, i) {
        rows.push([cell(trace.name), cell(x), cell(trace.y[i]), "", cell(Array.isArray(trace.text) ? trace.text[i] : "")]);
      });
    });
    return rows;
  }

  function quoted(value) {
    // a leading = + @ would be run as a formula by a spreadsheet; numbers keep their sign
    var text = /^[=@]/.test(value) || (/^[+-]/.test(value) && isNaN(Number(value))) ? "'" + value : value;
    return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  }

  function save(link, name, rows) {
    var text = "\ufeff" + rows.map(function (row) { return row.map(quoted).join(","); }).join("\n") + "\n";
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    link.download = name + ".csv";
  }

  function tableRows(id) {
    return Array.prototype.map.call(document.getElementById(id).rows, function (row) {
      return Array.prototype.map.call(row.cells, function (one) { return one.textContent.trim().replace(/\s+/g, " ").replace(/\u2212/g, "-"); });
    });
  }

  function copy(button) {
    var text = tableRows(button.getAttribute("data-copy")).map(function (row) { return row.join("\t"); }).join("\n");
    var done = function () {
      button.textContent = shared.words.copied;
      setTimeout(function () { button.textContent = shared.words.copy; }, 1500);
    };
    var byHand = function () {
      var area = document.createElement("textarea");
      area.value = text;
      document.body.appendChild(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      done();
    };
    if (navigator.clipboard && window.isSecureContext) navigator.clipboard.writeText(text).then(done, byHand);
    else byHand();
  }

  document.addEventListener("click", function (event) {
    var hit = event.target.closest("[data-csv],[data-table-csv],[data-copy],[data-log],[data-gross],[data-theme-toggle],a[href^='#fact-']");
    if (!hit) return;
    if (hit.hasAttribute("data-csv")) {
      var id = hit.getAttribute("data-csv");
      save(hit, id.replace("chart-", ""), rowsOf(figures[id].figure));
    } else if (hit.hasAttribute("data-table-csv")) {
      save(hit, hit.getAttribute("data-table-csv").replace("table-", ""), tableRows(hit.getAttribute("data-table-csv")));
    } else if (hit.hasAttribute("data-copy")) {
      copy(hit);
    } else if (hit.hasAttribute("data-log")) {
      var own = figures[hit.getAttribute("data-log")];
      own.log = !own.log;
      hit.setAttribute("aria-pressed", String(own.log));
      draw(hit.getAttribute("data-log"));
    } else if (hit.hasAttribute("data-gross")) {
      var priced = figures[hit.getAttribute("data-gross")];
      priced.edition = priced.edition === "gross" ? "net" : "gross";
      hit.setAttribute("aria-pressed", String(priced.edition === "gross"));
      draw(hit.getAttribute("data-gross"));
      legend(hit.getAttribute("data-gross"));
    } else if (hit.hasAttribute("data-theme-toggle")) {
      document.documentElement.setAttribute("data-theme", dark() ? "light" : "dark");
      all();
    } else {
      var row = document.querySelector(hit.getAttribute("href"));
      if (row) row.closest("details").open = true;
    }
  });

  document.querySelectorAll("script[data-figure]").forEach(function (holder) {
    var figure = JSON.parse(holder.textContent);
    var id = holder.getAttribute("data-figure");
    figures[id] = {
      figure: figure,
      shown: figure.data.map(function (trace) { return trace.visible === undefined ? true : trace.visible; }),
      edition: document.querySelector('[data-gross="' + id + '"]') ? "net" : null,
      log: document.querySelector('[data-log="' + id + '"]') ? figure.layout.yaxis.type === "log" : null
    };
  });
  all();
  document.documentElement.setAttribute("data-charts", String(Object.keys(figures).length));

  media.addEventListener("change", all);
  var wasNarrow = narrow();
  window.addEventListener("resize", function () {
    if (narrow() !== wasNarrow) { wasNarrow = narrow(); all(); }
  });
  // paper: light edition, folded tables opened, charts as wide as the sheet
  var opened = [];
  window.addEventListener("beforeprint", function () {
    printing = true;
    document.documentElement.setAttribute("data-printing", "");
    opened = Array.prototype.filter.call(document.querySelectorAll("details:not([open])"), function (one) { one.open = true; return true; });
    Object.keys(figures).forEach(function (id) {
      var made = edition(id);
      made.layout.autosize = false;
      var half = document.getElementById(id).closest(".side, .trio .drawn") !== null;
      made.layout.width = half ? 330 : 690;
      if (half) made.data.forEach(function (trace) { if (trace.textfont) trace.textfont.size = 9; });
      Plotly.react(document.getElementById(id), made.data, made.layout, config);
      legend(id);
    });
  });
  window.addEventListener("afterprint", function () {
    printing = false;
    document.documentElement.removeAttribute("data-printing");
    opened.forEach(function (one) { one.open = false; });
    all();
  });
})();
