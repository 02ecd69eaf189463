<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Review: ${review.verdict}</title>
<style>
<%include file="review.css.mako"/>
</style>
</head>
<body>
<%def name="place(finding)">${finding.place or (f"revision {finding.revision}" if finding.revision else "")}</%def>\
<header>
<div class="verdict ${page.level}"><p>Verdict</p><h1>${review.verdict}</h1></div>
<ul class="facts soft">
% if review.plan:
<li>${len(review.plan)} revision${"s" * (len(review.plan) != 1)}, ${len(review.statements)} statement${"s" * (len(review.statements) != 1)}, measured on PostgreSQL ${review.server}</li>
% endif
<li>${f"target {review.target}; sizes from its statistics" if review.target else "no target was named: every table may be large"}</li>
% if review.findings:
<li>
% for count, level in page.counts:
<span class="tag ${level.rstrip('s')}">${count} ${level}</span>
% endfor
% if page.accepted:
<span class="tag note">${len(page.accepted)} accepted</span>
% endif
</li>
% endif
</ul>
% if review.plan:
<nav><a href="#locks">Locks</a> <a href="#findings">Findings</a> <a href="#changes">Changes</a>
% if page.diagram:
<a href="#tables">Tables</a>
% endif
<a href="#sql">SQL</a></nav>
% endif
</header>
% if review.plan:
<main>
<h2 id="locks">Who waits for what</h2>
% if page.drawn:
<p class="soft">Tables from before the scripts, against the statements in their order. A bar begins at the statement that takes the lock and ends with its transaction. Locks of those who only read are left out: they block nothing but what blocks reads.</p>
<ul class="legend">
% for short, name, blocks in page.modes:
<li><span class="tag ${{'nothing': 'note', 'writes': 'warning', 'reads and writes': 'error'}[blocks]}">${short}</span> ${name}: blocks ${blocks}</li>
% endfor
% if any(measured.rewritten for measured in review.statements):
<li><strong>rewrite</strong>: every row is written anew</li>
% endif
% if any(measured.scanned for measured in review.statements):
<li><strong>scan</strong>: the table is read from end to end</li>
% endif
</ul>
% else:
<p>No statement does more to a table from before the scripts than to read it.</p>
% endif
% for part in page.parts:
% if not part.quiet:
<h3>${part.revision} <span class="soft">${"online: each step commits by itself" if part.revision.online else "one transaction"}</span></h3>
% if not part.statements:
<p class="soft">No statement was measured.</p>
% endif
% for picture in part.pictures:
% if picture.rows:
<%include file="timeline.svg.mako" args="picture=picture, timeline=timeline"/>
% else:
<p class="soft">${picture.span.capitalize()}: no lock on a table from before the scripts, unless to read it.</p>
% endif
% endfor
% endif
% endfor
% if page.quiet:
<p class="soft">No lock on a table from before the scripts, unless to read it:</p>
<ul class="soft">
% for part in page.quiet:
<li>${part.revision}</li>
% endfor
</ul>
% endif

<h2 id="findings">Findings</h2>
% if not page.open:
<p>None.</p>
% endif
% for finding in page.open:
<article class="finding">
<p><span class="tag ${finding.level}">${finding.level}</span> <code>${finding.rule}</code> <span class="soft">${place(finding)}</span></p>
<p class="what">${finding.what}</p>
<p class="soft">${finding.why}</p>
% if finding.sql:
<pre>${finding.sql}</pre>
% endif
% if finding.evidence:
<p><strong>Measured:</strong> ${finding.evidence}</p>
% endif
% if finding.estimate:
<p>${finding.estimate[0].upper()}${finding.estimate[1:]}</p>
% endif
% if finding.fix:
<p><strong>Instead:</strong></p>
<pre class="fix">${finding.fix}</pre>
% endif
% if finding.acceptable:
<p class="soft">Or accept it there: <code># review: accept ${finding.rule} because …</code></p>
% endif
</article>
% endfor
% if page.accepted:
<h3>Accepted</h3>
% for finding in page.accepted:
<article class="finding">
<p><span class="tag note">accepted ${finding.level}</span> <code>${finding.rule}</code> <span class="soft">${place(finding)}</span></p>
<p class="what">${finding.what}</p>
<p><strong>Because</strong> ${finding.accepted}</p>
</article>
% endfor
% endif

<h2 id="changes">Before and after</h2>
% if not review.sides:
<p>Not known: a script fails, or could not be run.</p>
% elif not page.changes:
<p>The schema stays as it is.</p>
% endif
% for change in page.changes:
<h3>${change.name} <span class="tag ${{'new': 'plus', 'gone': 'minus'}.get(change.what, 'note')}">${change.what}</span></h3>
<pre class="diff">\
% for sign, line in change.lines:
<span class="${{'+': 'plus', '-': 'minus'}.get(sign, '')}">${sign or " "} ${line}</span>\
% endfor
</pre>
% endfor

% if page.diagram:
<h2 id="tables">Tables touched</h2>
<p class="soft">+ new, − gone, ~ changed. A line leads from a foreign key to the table that it references.</p>
<%include file="diagram.svg.mako" args="drawn=page.diagram"/>
% endif

<h2 id="sql">SQL</h2>
% for part in page.parts:
<h3>${part.file}</h3>
% for number, measured in enumerate(part.statements, part.first):
<div class="statement" id="s${number}">
<p><strong>${number}</strong> <span class="soft">line ${measured.line}, ${f"{measured.seconds:.3f}"} s on made-up rows${", commits by itself" if measured.online else ""}</span></p>
<pre>${sql(measured.sql)}</pre>
<% effects = page.effects(measured) %>\
% if effects:
<ul>
% for effect in effects:
<li>${effect}</li>
% endfor
</ul>
% endif
</div>
% endfor
% if part.stopped:
<p>It fails ${f"at line {part.stopped.line}" if part.stopped.line else "there"}: ${part.stopped.what}. What would come after that is not known.</p>
% endif
% endfor
</main>
% endif
</body>
</html>
