<%
  named = {"ours": "ours", "ours, --fast": "fast", "plain Alembic": "plain", "floor": "floor"}
  tools = sorted({curve.tool for panel in panels for curve in panel.curves} - {*named})
  classes = named | {tool: f"t{n}" for n, tool in enumerate(tools)}
%>\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height * len(panels)}" width="${width}" height="${height * len(panels)}" role="img" aria-label="Seconds over the number of revisions, for each tool">
<style>
  svg { --paper: #fff; --ink: #1f2328; --faint: #59636e; --grid: #d1d9e0; --ours: #0969da;
        --t0: #1a7f37; --t1: #9a6700; --t2: #8250df; --t3: #bf3989; --t4: #bc4c00; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #f0f6fc; --faint: #9198a1; --grid: #3d444d; --ours: #58a6ff;
          --t0: #3fb950; --t1: #d29922; --t2: #bc8cff; --t3: #f778ba; --t4: #ff9b66; }
  }
  text { font: 15px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--faint) }
  .title { font-size: 17px; font-weight: 600; fill: var(--ink) }
  .grid { stroke: var(--grid) }
  polyline { fill: none; stroke: var(--tool); stroke-width: 2 }
  circle { fill: var(--tool) }
  .lead { stroke: var(--tool); opacity: .5 }
  .name { fill: var(--tool) }
  .ours polyline { stroke-width: 4 }
  .ours .name { font-weight: 700 }
  .floor polyline, .fast polyline { stroke-dasharray: 3 5 }
  .ours, .fast { --tool: var(--ours) } .plain { --tool: var(--ink) } .floor { --tool: var(--faint) }
% for n in range(len(tools)):
  .t${n} { --tool: var(--t${n}) }
% endfor
</style>
<rect width="100%" height="100%" rx="8" fill="var(--paper)"/>
% for number, panel in enumerate(panels):
<g transform="translate(0 ${number * height})">
<text class="title" x="${left}" y="26">${panel.title}</text>
% for y, label in panel.lines:
<line class="grid" x1="${left}" x2="${right}" y1="${y}" y2="${y}"/><text x="${left - 8}" y="${y + 5}" text-anchor="end">${label}</text>
% endfor
% for x, label in panel.columns:
<line class="grid" x1="${x}" x2="${x}" y1="${top}" y2="${bottom}"/><text x="${x}" y="${bottom + 22}" text-anchor="middle">${label}</text>
% endfor
<text x="${right + 24}" y="${bottom + 22}">revisions</text>
% for curve in sorted(panel.curves, key=lambda curve: curve.tool == "ours"):
<g class="${classes[curve.tool]}"><polyline points="${curve.points}"/>
% for point in curve.points.split():
<circle cx="${point.split(",")[0]}" cy="${point.split(",")[1]}" r="3"/>
% endfor
<line class="lead" x1="${right + 4}" y1="${curve.end}" x2="${right + 16}" y2="${curve.label}"/><text class="name" x="${right + 20}" y="${curve.label + 5}">${curve.tool}</text></g>
% endfor
</g>
% endfor
</svg>
