:root {
  color-scheme: light dark;
  --page: #ffffff; --card: #f4f6f9; --line: #c8d0da; --text: #1b2430; --soft: #55606e; --link: #0b57b7;
  --error: #b81d2b; --on-error: #ffffff; --warning: #f3b63f; --on-warning: #2b1c00; --safe: #1b7340; --on-safe: #ffffff;
  --note: #d4dbe5; --on-note: #1b2430; --plus: #dff5e4; --on-plus: #0d4a24; --minus: #fde4e4; --on-minus: #7d1220;
  --band: #eaeef4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11161d; --card: #1a212b; --line: #3b4757; --text: #e7ecf3; --soft: #a3b0c0; --link: #84b8ff;
    --error: #ff8078; --on-error: #2a0605; --warning: #e9b44c; --on-warning: #261800; --safe: #5fd08a; --on-safe: #06230f;
    --on-note: #e7ecf3; --plus: #12351f; --on-plus: #a9ecc0; --minus: #431a1d; --on-minus: #ffc1bd;
    --note: #435063; --band: #1e2733;
  }
}
@media print {
  :root {
    color-scheme: light;
    --page: #ffffff; --card: #ffffff; --line: #b4bdc8; --text: #000000; --soft: #444c56; --link: #1b2430;
    --error: #b81d2b; --on-error: #ffffff; --warning: #f3b63f; --on-warning: #2b1c00; --safe: #1b7340; --on-safe: #ffffff;
    --note: #d4dbe5; --on-note: #1b2430; --plus: #dff5e4; --on-plus: #0d4a24; --minus: #fde4e4; --on-minus: #7d1220;
    --band: #eaeef4;
  }
}
* { box-sizing: border-box; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
body {
  margin: 0 auto; padding: 16px; max-width: 1180px; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere;
}
a { color: var(--link); }
h1, h2, h3 { line-height: 1.25; margin: 0; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p { margin: .4rem 0; }
code, pre { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { margin: .4rem 0; padding: 8px 10px; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 26rem; overflow: auto; }
.soft { color: var(--soft); font-size: .9rem; }
.verdict { padding: 16px 18px; border-radius: 10px; }
.verdict h1 { font-size: 1.35rem; }
.verdict p { margin: 0; font-weight: 600; }
.error { background: var(--error); color: var(--on-error); }
.warning { background: var(--warning); color: var(--on-warning); }
.note { background: var(--note); color: var(--on-note); }
.safe { background: var(--safe); color: var(--on-safe); }
nav { margin: .8rem 0; } nav a { display: inline-block; margin-right: 1rem; padding: 4px 0; }
.facts { margin: .8rem 0; padding: 0; list-style: none; }
.tag { display: inline-block; padding: 0 8px; border-radius: 4px; font-size: .85rem; font-weight: 600; }
.finding { margin: .8rem 0; padding: 12px 14px; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
.finding pre { background: var(--page); }
.fix { white-space: pre; overflow-wrap: normal; }
.finding .what { font-weight: 600; white-space: pre-line; }
.wide { width: fit-content; max-width: 100%; overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0; }
.wide:focus-visible { outline: 2px solid var(--link); }
.timeline { display: flex; width: max-content; }
.timeline .names { position: sticky; left: 0; flex: none; background: var(--page); box-shadow: 1px 0 var(--line); }
svg { display: block; flex: none; }
svg text { fill: var(--text); font: 11px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
svg .faint { fill: var(--soft); }
svg .name { font-size: 12px; font-weight: 600; }
svg a text { fill: var(--link); text-decoration: underline; font-weight: 600; }
svg .band { fill: var(--band); } svg .plain { fill: var(--page); } svg .grid { stroke: var(--line); }
svg .bar-nothing { fill: var(--note); } svg .bar-writes { fill: var(--warning); } svg .bar-all { fill: var(--error); }
svg .on-nothing { fill: var(--on-note); } svg .on-writes { fill: var(--on-warning); } svg .on-all { fill: var(--on-error); }
svg .mark { fill: var(--page); stroke: var(--text); } svg .rewrite { fill: var(--text); } svg .on-rewrite { fill: var(--page); }
svg .box { fill: var(--card); stroke: var(--line); } svg .head { fill: var(--note); }
svg .head.new { fill: var(--plus); } svg .head.gone { fill: var(--minus); }
svg .back-new { fill: var(--plus); } svg .back-gone { fill: var(--minus); } svg .back-changed { fill: var(--band); }
svg .is-new { fill: var(--on-plus); } svg .is-gone { fill: var(--on-minus); text-decoration: line-through; }
svg .key { fill: none; stroke: var(--soft); stroke-width: 1.5; } svg .key.new { stroke: var(--safe); stroke-width: 2; }
svg .key.gone { stroke: var(--error); stroke-dasharray: 4 3; } svg .arrow { fill: var(--soft); }
.legend { margin: .4rem 0; padding: 0; list-style: none; font-size: .9rem; }
.legend li { display: inline-block; margin: 2px 1.2rem 2px 0; }
.diff { padding: 6px 0; } .diff span { display: block; padding: 0 10px 0 26px; text-indent: -16px; white-space: pre-wrap; }
.plus { background: var(--plus); color: var(--on-plus); } .minus { background: var(--minus); color: var(--on-minus); }
.statement { margin: 1rem 0; scroll-margin-top: 1rem; } .statement ul { margin: .3rem 0; padding-left: 1.2rem; font-size: .9rem; }
.statement:target > p { outline: 3px solid var(--link); outline-offset: 3px; }
@media print {
  body { max-width: none; padding: 0; font-size: 11pt; }
  nav { display: none; }
  pre { max-height: none; }
  .fix { white-space: pre-wrap; overflow-wrap: anywhere; }
  .wide { width: 100%; overflow: visible; border: 0; break-inside: avoid; }
  .timeline { width: 100%; }
  .timeline .names { position: static; width: var(--names); height: auto; }
  .timeline .bars { width: var(--bars); height: auto; }
  .diagram { max-width: 100%; max-height: 24cm; height: auto; }
  .finding, .statement > p { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
