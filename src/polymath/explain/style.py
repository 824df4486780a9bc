"""How a report looks: one style sheet, light and dark, for a desk, a phone and paper."""

COLOURS = """
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1c1d21;--soft:#62646c;--rule:#e4e1d9;--fill:#f1efe9;
--one:#0f6e78;--two:#c8702a;--three:#6a55a8;--bad:#b3382c;--good:#2f7d4f;--muted:#b9b6ad;
--arm0:#0f6e78;--arm1:#c8702a;--arm2:#6a55a8;--arm3:#3b6fc4;--arm4:#2f7d4f;--arm5:#c2478d;--arm6:#8a7a1f;
--arm7:#7a5a43;--arm8:#8d8a83}
@media (prefers-color-scheme:dark){:root{--paper:#131416;--card:#1a1c1f;--ink:#eae8e3;--soft:#9b9da4;--rule:#2c2f34;
--fill:#212428;--one:#56c2c8;--two:#e69a5b;--three:#a996e6;--bad:#ee7b6c;--good:#6cc394;--muted:#55585f;
--arm0:#56c2c8;--arm1:#e69a5b;--arm2:#a996e6;--arm3:#82aef2;--arm4:#6cc394;--arm5:#ea86bd;
--arm6:#cdbb55;--arm7:#bd9a80;--arm8:#7d8088}}
"""
"""Of the page, light and dark."""

DRAWINGS = """
svg{display:block;width:100%;height:auto;font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
svg text{fill:var(--soft)}svg .label{fill:var(--soft);font-size:12px}svg .note,svg .name{fill:var(--ink)}
svg .strong{fill:var(--ink);font-weight:600}
.grid{stroke:var(--rule)}.axis{stroke:var(--muted)}.dash{stroke:var(--muted);stroke-dasharray:4 4}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.line.one{stroke:var(--one)}.line.two{stroke:var(--two)}.line.three{stroke:var(--three)}
.line.muted{stroke:var(--muted);stroke-width:1.1;opacity:.75}.line.dash{stroke:var(--soft);stroke-width:1.2;
stroke-dasharray:4 4}
.dot.one,.bar.one{fill:var(--one)}.dot.two,.bar.two{fill:var(--two)}.dot.three,.bar.three{fill:var(--three)}
.dot.muted,.bar.muted{fill:var(--muted)}.dot.faint{fill:var(--one);fill-opacity:.38}.bar.soft{fill:var(--one);
fill-opacity:.3}
.right{fill:var(--one)}.wrong{fill:var(--bad)}.none{fill:var(--fill)}svg .over-dark{fill:var(--card);font-weight:600}
.gene rect{fill:var(--fill);stroke:var(--rule)}.gene.port rect{fill:none;stroke:var(--one)}
.gene.out rect{fill:var(--one);stroke:none}
svg .gene.out text{fill:var(--paper);font-weight:600}.edge{fill:none;stroke:var(--muted);stroke-width:1.3}
.edge.skip{stroke:var(--two)}.point{fill:var(--muted)}
.arm0{--arm:var(--arm0)}.arm1{--arm:var(--arm1)}.arm2{--arm:var(--arm2)}.arm3{--arm:var(--arm3)}.arm4{--arm:var(--arm4)}
.arm5{--arm:var(--arm5)}.arm6{--arm:var(--arm6)}.arm7{--arm:var(--arm7)}.arm8{--arm:var(--arm8)}
.arm-fixed{--arm:var(--soft)}
.line[class*=arm]{stroke:var(--arm)}.dot[class*=arm]{fill:var(--arm);fill-opacity:.9}.dot.pale{fill-opacity:.3}
.cross{fill:none;stroke:var(--arm);stroke-width:1.4}.swatch{display:inline-block;width:20px;height:3px;border-radius:2px;
background:var(--arm);margin-right:8px;vertical-align:middle}.ground{fill:var(--paper)}
"""
"""How drawings look, on the page or as files of their own."""

SVG_CSS = COLOURS + DRAWINGS.replace("width:100%;height:auto;", "")
"""For a drawing that is a file."""

CSS = (
    COLOURS
    + """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main,header,footer{max-width:1080px;margin:0 auto;padding:0 20px}
header{padding-top:48px}
h1{font:600 clamp(2rem,6vw,3.2rem)/1.1 Georgia,"Iowan Old Style","Times New Roman",serif;letter-spacing:-.015em;
margin:.1em 0 .3em;
overflow-wrap:anywhere}
h2{font:600 1.55rem/1.2 Georgia,"Iowan Old Style","Times New Roman",serif;margin:0 0 .6em;letter-spacing:-.01em}
h3{font-size:1rem;margin:1.8em 0 .6em}
p{max-width:68ch;margin:.6em 0}
.over{text-transform:uppercase;letter-spacing:.09em;font-size:.74rem;color:var(--soft);margin:0}
.lead{font-size:1.16rem;line-height:1.5;max-width:62ch}
.lead b{color:var(--one);font-weight:650}
.soft,figcaption,.caption{color:var(--soft);font-size:.9rem}
.warn{border-left:3px solid var(--two);padding:.1em 0 .1em 14px}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;padding:14px 0;margin-top:22px;border-top:1px solid var(--rule);
border-bottom:1px solid var(--rule);font-size:.9rem}
a{color:var(--one);text-decoration:none}a:hover{text-decoration:underline}
section{padding:44px 0 8px}
section+section{border-top:1px solid var(--rule);margin-top:28px}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:1px;background:var(--rule);
border:1px solid var(--rule);border-radius:12px;overflow:hidden;margin:26px 0 8px;padding:0}
.facts>div{background:var(--card);padding:16px 18px}
.facts dt{font-size:.8rem;color:var(--soft)}
.facts dd{margin:2px 0 0;font-size:1.5rem;font-weight:600;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.facts dd small{display:block;font-size:.8rem;font-weight:400;color:var(--soft);letter-spacing:0}
.facts .first dd{color:var(--one)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:22px;margin:18px 0}
figure{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:16px 16px 12px;
min-width:0}
figure.wide{grid-column:1/-1}
figcaption{margin-top:8px;max-width:75ch}
"""
    + DRAWINGS
    + """
.ladder{display:grid;grid-template-columns:minmax(92px,max-content) 1fr max-content;gap:2px 18px;align-items:center;
font-size:.9rem;font-variant-numeric:tabular-nums;padding:4px 4px 8px}
.ladder .own{font-weight:650}.ladder .value{text-align:right}
.track{position:relative;height:32px;background:linear-gradient(var(--rule),var(--rule)) center/100% 1px no-repeat}
.spot{position:absolute;top:50%;width:11px;height:11px;margin:-5.5px;border-radius:50%;background:var(--muted)}
.spot.one{background:var(--one);width:14px;height:14px;margin:-7px}
.spot.two{background:var(--two);width:14px;height:14px;margin:-7px}
.whisker{position:absolute;top:50%;height:12px;margin-top:-6px;border:solid var(--two);border-width:0 2px;
background:linear-gradient(var(--two),var(--two)) center/100% 2px no-repeat}
.ticks{position:relative;height:20px;border-top:1px solid var(--muted);color:var(--soft);font-size:.78rem}
.ticks span{position:absolute;transform:translateX(-50%);white-space:nowrap}
@media (max-width:560px){.ladder{grid-template-columns:minmax(0,38%) 1fr max-content;gap:2px 12px}}
.axis-name{grid-column:1/-1;color:var(--soft);font-size:.8rem;text-align:center}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th{font-weight:600;text-align:left;color:var(--soft);font-size:.8rem;white-space:nowrap}
th,td{padding:7px 14px 7px 0;border-bottom:1px solid var(--rule);vertical-align:top}
td{overflow-wrap:break-word}
.number{text-align:right;white-space:nowrap}
.number+:not(.number){padding-left:14px}
th:last-child,td:last-child{padding-right:0}
.pill{display:inline-block;font-size:.76rem;padding:1px 8px;border-radius:99px;background:var(--fill);
color:var(--soft);white-space:nowrap}
.pill.output{background:var(--one);color:var(--paper)}
.bad{color:var(--bad)}.good{color:var(--good)}
.meter{display:block;height:6px;min-width:60px;border-radius:3px;background:var(--fill);margin-top:8px}
.meter i{display:block;height:100%;border-radius:3px;background:var(--one)}
details{margin:14px 0}summary{cursor:pointer;color:var(--one);font-size:.93rem;padding:4px 0}
.mistakes{display:grid;grid-template-columns:repeat(auto-fill,minmax(148px,1fr));gap:14px;margin:16px 0}
.mistakes.broad{grid-template-columns:repeat(auto-fill,minmax(min(100%,310px),1fr))}
.mistake{background:var(--card);border:1px solid var(--rule);border-radius:12px;overflow:hidden;font-size:.86rem;
line-height:1.4}
.mistake .shown{background:var(--fill)}
.mistake img{display:block;width:100%;aspect-ratio:1;object-fit:contain}
.mistake img.small{image-rendering:pixelated}
.mistake .strip img{aspect-ratio:auto}
.mistake blockquote{margin:0;padding:12px 14px;font:italic .95rem/1.45 Georgia,serif;overflow-wrap:anywhere}
.mistake table{font-size:.82rem}.mistake th{white-space:normal;font-size:.82rem;font-weight:400;overflow-wrap:anywhere}
.mistake td{text-align:right;overflow-wrap:anywhere}
.mistake .shown>table,.mistake .shown>.scroll{padding:4px 12px}
.mistake th,.mistake td{padding:3px 12px}
.mistake div.said{padding:9px 12px 11px}
.mistake p{margin:0}
.mistake details{margin:0;padding:2px 12px 4px}.mistake details table{margin:0 -12px;width:calc(100% + 24px)}
.mistake summary{font-size:.82rem}
figure+h3,.scroll+figure{margin-top:20px}
footer{padding:34px 20px 60px;color:var(--soft);font-size:.85rem;overflow-wrap:anywhere}
@media (max-width:560px){header{padding-top:28px}.facts{grid-template-columns:1fr 1fr}.facts dd{font-size:1.2rem}
section{padding:30px 0 4px}figure{padding:12px 8px 8px}.facts>div{padding:12px 14px}}
@media print{nav{display:none}section{break-inside:avoid-page}details{display:block}}
"""
)
