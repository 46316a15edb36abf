"""How the report looks: its style sheet and the frame of the page."""

from string import Template

# Every text colour is at least 4.5 to 1 on its background, in light and in dark.
STYLE = """
:root{color-scheme:light dark;
--page:#f7f6f3;--card:#fff;--text:#1d2024;--soft:#5a6068;--line:#dfdcd5;--faint:#e4e1da;--track:#eceae4;
--series:#3d5a80;--bar:#8aa4c4;--left_hand:#c45a06;--right_hand:#0b7285;--pose:#2b7a3a;--face:#6a5f8f;
--good:#2b7a3a;--bad:#b3261e;--decode:#8d99a8;--detect:#3d5a80;--write:#c45a06;--rest:#d3cfc5;--code:#f1efea;--shade:#0003}
@media (prefers-color-scheme:dark){:root{
--page:#14161a;--card:#1c1f24;--text:#e9e7e2;--soft:#a4a9b1;--line:#31353c;--faint:#2d3138;--track:#2a2e35;
--series:#8fb0dc;--bar:#4f6f9b;--left_hand:#ff9b45;--right_hand:#35c4d7;--pose:#5fce74;--face:#b4a7e0;
--good:#5fce74;--bad:#ff8a80;--decode:#717b88;--detect:#8fb0dc;--write:#ff9b45;--rest:#3f444c;--code:#262a31;--shade:#000a}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Noto Sans",sans-serif}
main,header,footer{max-width:1120px;margin:0 auto;padding:0 24px}
header{padding-top:48px}
.eyebrow{margin:0;color:var(--soft);font-size:.8125rem;letter-spacing:.09em;text-transform:uppercase}
h1{margin:4px 0 6px;font-size:2.125rem;line-height:1.15;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{margin:0 0 4px;font-size:1.3125rem;line-height:1.25;letter-spacing:-.008em}
h2+.card{margin-top:14px}
h3{margin:0 0 8px;font-size:1rem;line-height:1.3}
p{margin:0 0 12px}
.soft{color:var(--soft)}
.where{margin:0;color:var(--soft);font-size:.9375rem;overflow-wrap:anywhere}
section{margin-top:40px}
.lead{max-width:70ch;margin-bottom:16px;color:var(--soft)}
nav{margin-top:20px;font-size:.9375rem}
nav a{display:inline-block;margin-right:18px;padding:4px 0;color:var(--text);
text-decoration-color:var(--line);text-underline-offset:4px}
a:focus-visible,.scroll:focus-visible{outline:2px solid var(--series);outline-offset:2px}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:1px;margin:28px 0 0;
padding:0;overflow:hidden;background:var(--line);border:1px solid var(--line);border-radius:10px}
.figures div{display:flex;flex-direction:column;padding:16px 18px;background:var(--card)}
.figures dt{order:1;font-size:.9375rem}
.figures dd{margin:0;font-size:1.75rem;font-weight:600;line-height:1.2;letter-spacing:-.02em}
.figures .more{order:2;color:var(--soft);font-size:.8125rem;font-weight:400;line-height:1.4;letter-spacing:0}
.card{padding:20px 22px;background:var(--card);border:1px solid var(--line);border-radius:10px}
.card+.card{margin-top:16px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:16px}
figure{margin:0}
.charts figure{padding:16px 16px 12px;background:var(--card);border:1px solid var(--line);border-radius:10px}
figcaption{font-weight:600}
figcaption span{display:block;color:var(--soft);font-size:.875rem;font-weight:400}
.chart{display:block;width:100%;max-width:420px;height:auto;margin:6px auto 0;color:var(--soft)}
.chart text{font-family:inherit}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,200px),1fr));
gap:12px 24px;margin:0}
.facts dt{color:var(--soft);font-size:.8125rem;overflow-wrap:anywhere}
.facts dd{margin:0;font-size:.9375rem;overflow-wrap:anywhere}
.scroll{overflow-x:auto;margin:0 -22px;padding:0 22px}
table{width:100%;border-collapse:collapse;font-size:.9375rem}
caption{padding-bottom:8px;font-weight:600;text-align:left}
th,td{padding:7px 12px;border-bottom:1px solid var(--line);text-align:right;vertical-align:baseline;
font-variant-numeric:tabular-nums;white-space:nowrap}
th:first-child,td:first-child{padding-left:0;text-align:left;white-space:normal;overflow-wrap:anywhere;
min-width:7.5rem}
th:last-child,td:last-child{padding-right:0}
td.words,th.words{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:12rem}
tbody tr:last-child>*{border-bottom:0}
tfoot tr>*{border-top:1px solid var(--line);border-bottom:0;font-weight:600}
th{color:var(--soft);font-weight:500}
tbody th,tfoot th{color:var(--text)}
.rate{display:block;height:5px;margin-top:4px;min-width:72px;overflow:hidden;background:var(--track);
border-radius:3px}
.scroll{background:linear-gradient(90deg,var(--card) 24px,transparent 48px),
linear-gradient(270deg,var(--card) 24px,transparent 48px) 100% 0,
linear-gradient(90deg,var(--shade),transparent 14px),
linear-gradient(270deg,var(--shade),transparent 14px) 100% 0;
background-attachment:local,local,scroll,scroll;background-repeat:no-repeat}
.rate i{display:block;height:100%;background:var(--series);border-radius:3px}
.left_hand i{background:var(--left_hand)}.right_hand i{background:var(--right_hand)}
.bad-rate i{background:var(--bad)}
.pose i{background:var(--pose)}.face i{background:var(--face)}
.bad{color:var(--bad)}
.word{white-space:nowrap}
.note{margin-top:12px;color:var(--soft)}
.note code{margin-top:6px;color:var(--text)}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;margin:0 0 14px;padding:0;list-style:none;font-size:.875rem;
color:var(--soft)}
.legend i{display:inline-block;width:12px;height:12px;margin-right:7px;border-radius:2px;vertical-align:-1px}
.key-left{background:var(--left_hand)}.key-right{background:var(--right_hand)}
.key-unreadable{background:var(--text)}.key-none{background:var(--track)}
.key-decode{background:var(--decode)}.key-detect{background:var(--detect)}
.key-write{background:var(--write)}.key-rest{background:var(--rest)}
.strips{display:grid;gap:10px;margin:0;padding:0;list-style:none}
.strips li{display:grid;grid-template-columns:minmax(0,14rem) 1fr max-content;gap:4px 18px;align-items:center;
font-size:.875rem}
.strips b{font-weight:500;overflow-wrap:anywhere}
.strips span{min-width:11rem;color:var(--soft);line-height:1.35;text-align:right;white-space:nowrap}
.strip{display:block;width:100%;height:26px}
.strip .lane{fill:var(--track)}.strip .left_hand{fill:var(--left_hand)}
.strip .right_hand{fill:var(--right_hand)}.strip .unreadable{fill:var(--text)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));gap:16px}
article{display:flex;flex-direction:column;overflow:hidden;background:var(--card);
border:1px solid var(--line);border-radius:10px}
.skeleton{display:block;width:100%;height:220px;background:#0d0f12}
.skeleton path{fill:none;stroke-width:1;stroke-linecap:round;stroke-linejoin:round}
.skeleton .face{stroke:#fff;stroke-width:.45}.skeleton .pose{stroke:#30e030}
.skeleton .left_hand{stroke:#ff8a00;stroke-width:.8}.skeleton .right_hand{stroke:#00d9e7;stroke-width:.8}
article div{flex:1;padding:14px 16px 16px}
article h3{overflow-wrap:anywhere}
article ul{margin:0 0 12px;padding:0;list-style:none}
article li{font-size:.9375rem}
code{display:block;padding:8px 10px;overflow-wrap:anywhere;white-space:pre-wrap;background:var(--code);
border-radius:6px;font:.8125rem/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
code+code{margin-top:6px}
.shares{display:flex;width:100%;min-width:130px;height:10px;overflow:hidden;background:var(--track);
border-radius:5px}
.shares .decode{background:var(--decode)}.shares .detect{background:var(--detect)}
.shares .write{background:var(--write)}.shares .rest{background:var(--rest)}
footer{padding-top:28px;padding-bottom:56px;color:var(--soft);font-size:.875rem}
@media (max-width:640px){main,header,footer{padding-left:16px;padding-right:16px}header{padding-top:28px}
h1{font-size:1.625rem}.figures{grid-template-columns:repeat(2,1fr)}.figures .value{font-size:1.5rem}
.figures div:last-child:nth-child(odd){grid-column:1/-1}
.card{padding:16px}.scroll{margin:0 -16px;padding:0 16px}
.facts{grid-template-columns:repeat(2,minmax(0,1fr));gap:10px 16px}
.strips li{grid-template-columns:1fr auto}
.strips svg{grid-column:1/-1;grid-row:2}.strips span{min-width:0}
th,td{padding:7px 8px}th:first-child,td:first-child{min-width:5rem}.rate{min-width:52px}
td.words,th.words{min-width:10rem}}
@media print{body{background:#fff}section,article,figure{break-inside:avoid}}
"""

# Nothing is fetched and nothing runs, whatever a data set's names say.
PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="ray-landmarks">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>
<p class="eyebrow">Landmark report</p>
<h1>$name</h1>
<p class="where">$where</p>
<nav aria-label="Sections">$links</nav>
<dl class="figures">$figures</dl>
</header>
<main>
$sections
</main>
<footer>$footer</footer>
</body>
</html>
"""
)
