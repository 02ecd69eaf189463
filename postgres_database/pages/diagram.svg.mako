<%page args="drawn"/>
<%! from postgres_database.pages.diagram import HEAD, LINE, WIDTH %>
<div class="wide" tabindex="0" role="group" aria-label="Tables and foreign keys">
<svg class="diagram" width="${drawn.width}" height="${drawn.height}" viewBox="0 0 ${drawn.width} ${drawn.height}">
<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerUnits="userSpaceOnUse" markerWidth="9" markerHeight="9" orient="auto"><path class="arrow" d="M0 0 L8 4 L0 8 z"/></marker></defs>
% for path in drawn.paths:
<polyline class="key ${path.edge.what}" points="${' '.join(f'{x},{y}' for x, y in path.points)}" marker-end="url(#arrow)"><title>${path.edge.child}.${path.edge.column} references ${path.edge.parent} (${path.edge.name}, ${path.edge.what})</title></polyline>
% endfor
% for box in drawn.boxes:
<g class="entity"><title>${box.table}</title>
<rect class="box" x="${box.x}" y="${box.y}" width="${WIDTH}" height="${box.height}" rx="5"/>
<rect class="head ${box.what}" x="${box.x + 1}" y="${box.y + 1}" width="${WIDTH - 2}" height="${HEAD - 4}" rx="4"/>
<text class="name ${f'is-{box.what}' if box.what in ('new', 'gone') else ''}" x="${box.x + 10}" y="${box.y + 19}">${box.shown}</text>
% if box.what in ("new", "gone"):
<text class="is-${'new' if box.what == 'new' else 'word'}" x="${box.x + WIDTH - 10}" y="${box.y + 19}" text-anchor="end">${box.what}</text>
% endif
% for number, line in enumerate(box.lines):
<% y = box.y + HEAD + LINE * number + 15; look = f'is-{line.what}' if line.what in ('new', 'gone') else '' %>\
% if line.what != "same":
<rect class="back-${line.what}" x="${box.x + 1}" y="${y - 13}" width="${WIDTH - 2}" height="${LINE}"/>
<text x="${box.x + 8}" y="${y}">${{"new": "+", "gone": "−", "changed": "~"}[line.what]}</text>
% endif
<text class="${look}" x="${box.x + 22}" y="${y}"><title>${line.name} ${line.type}</title>${line.shown}</text>
<text class="faint" x="${box.x + WIDTH - 32}" y="${y}" text-anchor="end">${line.shown_type}</text>
<text class="faint" x="${box.x + WIDTH - 8}" y="${y}" text-anchor="end">${line.key}</text>
% endfor
% if box.more:
<text class="faint" x="${box.x + 22}" y="${box.y + HEAD + LINE * len(box.lines) + 15}">… and ${box.more} more</text>
% endif
</g>
% endfor
</svg></div>
