//! Records for tests, and a reader of XML that is just strict enough to tell well-formed from not.

use crate::latency::Percentiles;
use crate::record::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) fn check(name: &str) -> CheckRecord {
    CheckRecord {
        name: name.into(),
        verdict: Verdict::Pass,
        evaluated: 1_234_567,
        exposed: 89,
        violations: 0,
        first: None,
    }
}

pub(crate) fn passed() -> RunRecord {
    let latency = Percentiles { count: 12_000, p50: 0.412, p90: 3.41, p99: 41.2, p999: 1_204.0, max: 3_100.5 };
    RunRecord {
        verdict: Verdict::Pass,
        inconclusive_because: Vec::new(),
        scenario: "scenarios/smoke.toml".into(),
        seed: 7,
        salt: 0,
        planted: None,
        interrupted: false,
        digest: "8c3f00d1a2b3c4d5".into(),
        simulated_ms: 60_000,
        wall_ms: 250,
        speed: 240.0,
        phases: vec![PhaseRecord { name: "load".into(), simulated_ms: 30_000, wall_ms: 300, frames: 54_321 }],
        reproduce: "squall run scenarios/smoke.toml --seed 7".into(),
        clients: ClientCounts { virtual_clients: 40, connected_peak: 39, connects: 61, reconnects: 21 },
        messages: MessageCounts {
            sent: 12_000,
            acked: 11_998,
            unknown: 2,
            resent: 31,
            delivered: 24_100,
            displayed: 24_000,
            duplicates_discarded: 100,
            synced: 640,
            reads: 0,
            receipts: 0,
            watches: 0,
            presence_told: 0,
            refused: 2,
            typing_said: 0,
            typing_shown: 0,
        },
        checks: vec![check("acked-is-durable"), check("no-loss"), check("members-only")],
        autopsies: Vec::new(),
        service_levels: vec![ServiceLevelRecord {
            measure: "send_to_ack".into(),
            percentile: 99.0,
            found_ms: 41.2,
            at_most_ms: 500.0,
            count: 12_000,
            verdict: Verdict::Pass,
        }],
        faults: vec![
            FaultRecord {
                name: "crash-1".into(),
                kind: "crash".into(),
                at_ms: 10_000,
                targets: Vec::new(),
                missed: Vec::new(),
                never: Vec::new(),
                all_back_ms: Some(1_250),
                connected_after: [("gateway-0".into(), 0), ("gateway-1".into(), 39)].into(),
                until_ms: 12_500,
                affected: [("hosts".into(), 1), ("connections_closed".into(), 1_204)].into(),
            },
            FaultRecord {
                name: "drop-sent-acks-1".into(),
                kind: "drop-sent-acks".into(),
                at_ms: 20_000,
                targets: Vec::new(),
                missed: Vec::new(),
                never: Vec::new(),
                all_back_ms: None,
                connected_after: BTreeMap::new(),
                until_ms: 40_000,
                affected: [("acks".into(), 17), ("clients".into(), 0)].into(),
            },
        ],
        work: BTreeMap::new(),
        latency_hdr: BTreeMap::new(),
        series: None,
        format: FORMAT,
        about: None,
        merged: Vec::new(),
        load: None,
        not_judged: Vec::new(),
        hosts: [20, 39]
            .into_iter()
            .zip(0..)
            .map(|(connected_peak, n)| (format!("gateway-{n}"), HostRecord { connected_peak }))
            .collect(),
        sometimes: vec![
            SometimesRecord { name: "a resend met the dedup".into(), hits: 31 },
            SometimesRecord { name: "a sync took more than one page".into(), hits: 0 },
        ],
        pairs: Vec::new(),
        latency_ms: [("send_to_ack".into(), latency), ("reconnect".into(), Percentiles::default())].into(),
        memory: MemoryRecord {
            peak_rss_bytes: 14_541_000,
            bytes_per_client: 2_220.4,
            ledger: [("fleet".into(), 9_000_000), ("checks".into(), 5_000_000)].into(),
        },
    }
}

pub(crate) fn violated() -> RunRecord {
    let mut run = passed();
    run.verdict = Verdict::Violated;
    run.faults[0].missed = vec!["gateway-1".into()];
    run.scenario = "scenarios/<dark & \"stormy\">.toml".into();
    run.seed = 42;
    run.reproduce = "squall run 'scenarios/<dark & \"stormy\">.toml' --seed 42".into();
    run.checks[1] = CheckRecord {
        verdict: Verdict::Violated,
        violations: 3,
        first: Some(FirstViolation {
            t: 31_004_005,
            conversation: "7".into(),
            seq: Some(3),
            client_msg_id: Some("00000000-0000-0005-0000-00000000005a".into()),
            device: Some("2".into()),
            user: None,
            level: None,
            message: "Message 00000000-0000-0005-0000-00000000005a (send 3 of device 1 in conversation 7) stands at seq 3 \
                      of conversation 7 and should be shown on device 2 of user 2, which has not displayed it."
                .into(),
        }),
        ..check("no-loss")
    };
    run.checks[2] =
        CheckRecord { verdict: Verdict::Inconclusive, evaluated: 0, exposed: 0, ..check("members-only") };
    run
}

/// A folder of its own for a test, empty.
pub(crate) fn scratch(test: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("squall-reports-{}-{test}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// The elements of a document, in order, with their attributes.
pub(crate) struct Markup {
    /// With the name of the element that each stands in; that of the root is empty.
    elements: Vec<(String, BTreeMap<String, String>, String)>,
}

impl Markup {
    /// Reads a document. Panics where elements are not nested, quotes or brackets not closed, an entity unknown.
    pub fn read(text: &str) -> Markup {
        let (mut elements, mut open) = (Vec::new(), Vec::<String>::new());
        let mut rest = text;
        while let Some(start) = rest.find('<') {
            plain(&rest[..start]);
            let end = start + rest[start..].find('>').expect("every tag is closed");
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if tag.starts_with('?') || tag.starts_with('!') {
                continue;
            }
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name), "elements are nested");
                continue;
            }
            let (body, closed) = tag.strip_suffix('/').map_or((tag, false), |body| (body, true));
            let (name, attributes) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
            let parent = open.last().cloned().unwrap_or_default();
            elements.push((name.to_owned(), attributes_of(attributes), parent));
            if !closed {
                open.push(name.to_owned());
            }
        }
        plain(rest);
        assert!(open.is_empty(), "{open:?} are not closed");
        Markup { elements }
    }

    pub fn all(&self, name: &str) -> Vec<&BTreeMap<String, String>> {
        self.elements.iter().filter(|(element, ..)| element == name).map(|(_, attributes, _)| attributes).collect()
    }

    /// All of them in order: name, attributes, and the name of the element that each stands in.
    pub fn elements(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, String>, &str)> {
        self.elements.iter().map(|(name, attributes, parent)| (name.as_str(), attributes, parent.as_str()))
    }

    pub fn count(&self, name: &str) -> usize {
        self.all(name).len()
    }
}

fn attributes_of(mut text: &str) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    while let Some((name, rest)) = text.trim_start().split_once("=\"") {
        let (value, rest) = rest.split_once('"').expect("every quote is closed");
        assert!(attributes.insert(name.to_owned(), plain(value)).is_none(), "{name} stands twice");
        text = rest;
    }
    assert!(text.trim().is_empty(), "{text:?} is no attribute");
    attributes
}

fn plain(text: &str) -> String {
    assert!(!text.contains(['<', '>']), "{text:?} has a bare bracket");
    let mut out = String::new();
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap_or(""));
    for part in parts {
        let (entity, rest) = part.split_once(';').expect("every & begins an entity");
        match entity {
            "amp" => out.push('&'),
            "lt" => out.push('<'),
            "gt" => out.push('>'),
            "quot" => out.push('"'),
            "apos" => out.push('\''),
            _ => {
                let code = entity.strip_prefix('#').and_then(|code| code.parse().ok()).and_then(char::from_u32);
                out.push(code.unwrap_or_else(|| panic!("{entity:?} is no entity")));
            }
        }
        out.push_str(rest);
    }
    out
}
