//! Pages as a browser shows them: nothing is asked from elsewhere, nothing is cut, covers something else or is too small to read.
//!
//! Needs Chromium; where there is none the test says so and judges nothing.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The widths at which a page is looked at: a telephone and a desk.
const WIDTHS: [u32; 2] = [390, 1_280];
/// Chromium's numbers of the schemes that a page is shown in.
const SCHEMES: [(&str, &str); 2] = [("dark", "0"), ("light", "1")];
const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
const MILLION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../reports/tests/data/million-clients");

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("there is room for a folder");
    dir
}

/// Runs a file of the library, and gives the page that it writes.
fn page_of(dir: &Path, run: &str, file: &str, options: &[&str]) -> PathBuf {
    let out = dir.join(run);
    let mut squall = Command::new(env!("CARGO_BIN_EXE_squall"));
    squall.args(["run", &format!("{SCENARIOS}/{file}"), "--quiet", "--out"]).arg(&out).args(options);
    squall.output().expect("squall starts");
    out.join("report.html")
}

/// The page of a run of a million clients, which takes too long for a test: its record is kept, and the page is made of it by this program.
fn page_of_a_million(dir: &Path) -> PathBuf {
    let out = dir.join("million");
    std::fs::create_dir_all(&out).expect("there is room for a folder");
    let packed = std::fs::File::open(format!("{MILLION}/run.json.gz")).expect("the record is in the repository");
    let mut record = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut record).expect("it is whole");
    std::fs::write(out.join("run.json"), record).expect("there is room");
    std::fs::copy(format!("{SCENARIOS}/large/million-clients.toml"), out.join("scenario.toml"))
        .expect("there is room");
    let output =
        Command::new(env!("CARGO_BIN_EXE_squall")).arg("report").arg(&out).output().expect("squall starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out.join("report.html")
}

/// A sweep of a scenario that passes and one that is violated, with commits that take so long; gives its folder.
fn sweep(dir: &Path, name: &str, commit: &str) -> PathBuf {
    let calm = format!(
        "[topology]\ncommit_latency = \"{commit}\"\n[population]\nusers = 8\n[workload]\nsend_interval = \"500ms\"\n\
         [phases]\nload = \"6s\"\nliveness_bound = \"15s\"\n"
    );
    let level = "[[checks.service_levels]]\nmeasure = \"send-to-ack\"\npercentile = 50\nat_most = \"1us\"\n";
    let scenarios = dir.join(format!("{name}-scenarios"));
    std::fs::create_dir_all(&scenarios).expect("there is room for a folder");
    std::fs::write(scenarios.join("slower-than-agreed.toml"), [&calm, level].concat()).expect("there is room");
    std::fs::write(scenarios.join("calm.toml"), calm).expect("there is room");
    let out = dir.join(name);
    let mut squall = Command::new(env!("CARGO_BIN_EXE_squall"));
    squall.arg("sweep").arg(&scenarios).args(["--seeds", "0..8", "--quiet", "--out"]).arg(&out);
    squall.output().expect("squall starts");
    out
}

/// The page that a command about records writes.
fn page_about(dir: &Path, command: &str, records: &[&Path]) -> PathBuf {
    let page = dir.join(format!("{command}.html"));
    let mut squall = Command::new(env!("CARGO_BIN_EXE_squall"));
    squall.arg(command).args(records).arg("--html").arg(&page).output().expect("squall starts");
    page
}

fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|program| program.is_file())
}

/// Opens a page, and gives what the browser has made of it, and what it said on the way.
fn open(browser: &Path, page: &Path, scheme: &str, profile: &Path) -> (String, String) {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .args(["--window-size=1400,1000", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (said(&output.stdout), said(&output.stderr))
}

/// What the page's own console said.
fn console(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("CONSOLE")).collect()
}

/// A page that shows another one in a frame of this width, measures it, and writes down what is wrong with it.
fn measuring(page: &str, width: u32) -> String {
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<!doctype html><meta charset=\"utf-8\"><body><iframe id=\"page\" style=\"border:0;width:{width}px;height:900px\" srcdoc=\"{page}\"></iframe>\n\
         <pre id=\"wrong\">not measured</pre><script>\n{}</script>",
        include_str!("measure.js")
    )
}

/// What is wrong with a page, a line each.
fn wrong(dom: &str) -> String {
    let (_, rest) = dom.split_once("<pre id=\"wrong\">").expect("the measuring page has a place for it");
    rest.split_once("</pre>").expect("it ends").0.to_owned()
}

#[test]
fn the_record_of_a_million_clients_is_read_and_drawn() {
    let page = page_of_a_million(&scratch("million-page"));
    let record = std::fs::read_to_string(page.with_file_name("run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["clients"]["virtual"], 1_000_000);
    assert!(record["clients"]["connected_peak"].as_u64().unwrap() > 990_000, "{}", record["clients"]);
    let page = std::fs::read_to_string(page).unwrap();
    for plot in ["percentiles", "latency-send-to-ack", "connected", "messages", "memory", "speed"] {
        assert!(page.contains(&format!("<figure id=\"{plot}\">")), "there is no plot {plot}");
    }
}

#[test]
fn pages_can_be_read_on_a_telephone_and_at_a_desk_by_day_and_by_night() {
    let Some(browser) = browser() else {
        eprintln!("skipped: there is no Chromium on this machine, and nothing of the pages was judged");
        return;
    };
    let dir = scratch("pages");
    let (before, after) = (sweep(&dir, "before", "4ms"), sweep(&dir, "after", "40ms"));
    let pages = [
        ("passed", page_of(&dir, "passed", "deploy.toml", &[])),
        ("violated", page_of(&dir, "violated", "smoke.toml", &["--plant", "no-client-dedup"])),
        ("million", page_of_a_million(&dir)),
        ("swept", before.join("report.html")),
        ("compared", page_about(&dir, "compare", &[&before, &after])),
        ("trend", page_about(&dir, "trend", &[&before, &after])),
    ];
    let mut found = Vec::new();
    for (run, page) in pages {
        let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{run}: {error}"));
        for (name, scheme) in SCHEMES {
            let profile = dir.join("profile");
            let (_, log) = open(&browser, &page, scheme, &profile);
            found.extend(console(&log).into_iter().map(|line| format!("{run}, {name}: {line}")));
            for width in WIDTHS {
                let measuring_page = dir.join("measuring.html");
                std::fs::write(&measuring_page, measuring(&text, width)).expect("there is room for a page");
                let (dom, _) = open(&browser, &measuring_page, scheme, &profile);
                found.extend(wrong(&dom).lines().map(|line| format!("{run}, {name}, {width} px: {line}")));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
