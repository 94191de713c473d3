//! How the page looks, and its one script.

use crate::{plots, story};

const STYLE: &str = "\
:root { color-scheme: light dark; --line: #d6d9de; --soft: #5c6470; --paper: #ffffff; --ink: #14181f; --sunk: #f4f5f7; --pass: #1a7f37; --violated: #c62828; --inconclusive: #9a6700; --bar: #4c7bd9; --link: #2459bb; }
@media (prefers-color-scheme: dark) { :root { --line: #3a404a; --soft: #9aa3af; --paper: #12151a; --ink: #e6e9ee; --sunk: #1a1f27; --pass: #4ac26b; --violated: #ff7b72; --inconclusive: #d9a441; --bar: #6b95ec; --link: #8fb0f5; } }
* { box-sizing: border-box; }
body { overflow-wrap: anywhere; font: 15px/1.5 system-ui, sans-serif; background: var(--paper); color: var(--ink); max-width: 64rem; margin: 1.5rem auto 4rem; padding: 0 1rem; }
a { color: var(--link); } h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0 0 .3rem; } h3 .under { color: var(--soft); font-weight: 400; }
p.sentence { font-size: 1.15rem; margin: .3rem 0 .6rem; max-width: 48rem; }
p.under { color: var(--soft); margin-top: .25rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: break-word; } th { color: var(--soft); font-weight: 600; white-space: nowrap; } .n { text-align: right; white-space: nowrap; } .name { white-space: nowrap; }
.pass { color: var(--pass); } .violated { color: var(--violated); } .inconclusive { color: var(--inconclusive); }
.verdict { font-weight: 700; } .bar { background: var(--bar); height: .6rem; border-radius: .3rem; min-width: 2px; }
.track { position: relative; min-width: 9rem; height: .7rem; margin-top: .35rem; background: var(--sunk); border-radius: .35rem; }
.track .bar { position: absolute; height: .7rem; background: var(--fault); }
.badge { display: inline-block; padding: .05rem .6rem; border-radius: .8rem; border: 2px solid currentColor; font-size: 1.1rem; text-transform: uppercase; letter-spacing: .03em; vertical-align: .1rem; margin-right: .5rem; }
code, pre { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; } pre { overflow-x: auto; padding: .6rem .8rem; background: var(--sunk); border-radius: .4rem; overflow-wrap: normal; }
.case { border-left: 3px solid var(--violated); padding-left: .8rem; margin: 1rem 0; }
.reproduce code { background: var(--sunk); padding: .25rem .5rem; border-radius: .3rem; }
button { font: inherit; font-size: 13px; border: 1px solid var(--line); border-radius: .3rem; background: var(--paper); color: var(--ink); cursor: pointer; }
@media (max-width: 30rem) { body { padding: 0 .7rem; } table { font-size: 13px; } th, td { padding-right: .45rem; } }
@media print { body { max-width: none; margin: 0; } button { display: none; } .scroll { overflow: visible; } .story svg { width: 100% !important; height: auto !important; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
";

/// Of `copy.js`, which shows the buttons that copy a line: they are of no use without it. The policy lets nothing else run; a browser that
/// finds another script than this says so (`tests/pages.rs`).
const SCRIPT_SHA256: &str = "BSL1iebjFvi5uNdHfn1FTDu9fKg4oktD8gsp9efVTq8=";

/// The beginning of a page with this title, which is escaped already.
pub fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{SCRIPT_SHA256}'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{}{}</style>\n</head>\n<body>\n",
        plots::STYLE,
        story::STYLE
    )
}

/// The end of every page.
pub const FOOT: &str = concat!("<script>", include_str!("copy.js"), "</script>\n</body>\n</html>\n");
