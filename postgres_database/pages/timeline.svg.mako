<%page args="picture, timeline"/>
<%
  T, R, N = timeline.TOP, timeline.ROW, timeline.NAMES
  whole = N + picture.width
  full = max(whole, timeline.PAPER)
%>
<div class="wide" tabindex="0" role="group" aria-label="Locks of ${picture.span}"><div class="timeline" style="--names: ${f'{100 * N / full:.3f}'}%; --bars: ${f'{100 * picture.width / full:.3f}'}%">
<svg class="names" width="${N}" height="${picture.height}" viewBox="0 0 ${N} ${picture.height}" role="img" aria-label="Tables">
  <text class="faint" x="10" y="${T - 36}">statement</text>
% for row, (relation, size) in enumerate(picture.rows):
  <line class="grid" x1="0" x2="${N}" y1="${T + row * R}" y2="${T + row * R}"/>
  <text class="name table" x="10" y="${T + row * R + (20 if size else 27)}"><title>${relation}</title>${timeline.fitted(str(relation), timeline.LETTERS)}</text>
% if size:
  <text class="faint" x="10" y="${T + row * R + 37}">${size}</text>
% endif
% endfor
</svg>
<svg class="bars" width="${picture.width}" height="${picture.height}" viewBox="0 0 ${picture.width} ${picture.height}">
% for number, band in enumerate(picture.bands):
  <rect class="${'band' if number % 2 == 0 else 'plain'}" x="${band.x}" y="0" width="${band.width}" height="${picture.height}"/>
  <text class="faint" x="${band.x + 6}" y="14">${band.label}</text>
% endfor
% for column, head in enumerate(picture.columns):
  <a href="#s${head.number}"><text x="${column * timeline.COLUMN + timeline.COLUMN // 2}" y="${T - 32}" text-anchor="middle"><title>${head.sql[:300]}</title>${head.number}</text></a>
% for line, word in enumerate(head.words):
  <text class="faint" style="font-size: 9px" x="${column * timeline.COLUMN + timeline.COLUMN // 2}" y="${T - 19 + 11 * line}" text-anchor="middle">${word}</text>
% endfor
% endfor
% for row in range(len(picture.rows)):
  <line class="grid" x1="0" x2="${picture.width}" y1="${T + row * R}" y2="${T + row * R}"/>
% endfor
% for bar in picture.bars:
  <g class="bar"><title>${bar.relation}: ${bar.mode}, blocks ${bar.blocks}</title>
  <rect class="bar-${bar.look}" x="${bar.x}" y="${bar.y}" width="${bar.width}" height="${bar.height}" rx="3"/>
  <text class="on-${bar.look}" x="${bar.x + 5}" y="${bar.y + bar.height // 2 + 4}">${bar.label}</text></g>
% endfor
% for mark in picture.marks:
  <rect class="mark ${mark.what}" x="${mark.x - (27 if mark.what == 'rewrite' else 19)}" y="${mark.y}" width="${54 if mark.what == 'rewrite' else 38}" height="14" rx="7"/>
  <text class="on-${mark.what}" x="${mark.x}" y="${mark.y + 11}" text-anchor="middle">${mark.what}</text>
% endfor
</svg>
</div></div>
