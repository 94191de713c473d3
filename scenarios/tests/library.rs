//! Every file of the library is sound, survives a round trip, and is described by the schema; no text makes the parser panic.

use proptest::prelude::*;
use serde_json::Value;
use squall_scenarios::people::{
    BodyPart, ConversationsPart, DevicesPart, FlashCrowd, Giant, LengthPart, Life, Mix, Popularity,
};
use squall_scenarios::{
    Arrival, DiskOperation, Fault, FaultKind, KindName, Point, Profile, Scenario, Span, Target, Targets, files_in,
    json_schema, load, parse,
};
use std::path::{Path, PathBuf};

fn library() -> Vec<(PathBuf, Scenario)> {
    let files = files_in(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the library is a folder");
    let read = |file: PathBuf| match load(&file) {
        Ok(scenario) => (file, scenario),
        Err(problems) => panic!("{}", problems.iter().map(|problem| format!("{problem}\n")).collect::<String>()),
    };
    files.into_iter().map(read).collect()
}

fn sources() -> Vec<String> {
    library().iter().map(|(file, _)| std::fs::read_to_string(file).expect("a file of the library")).collect()
}

#[test]
fn the_library_parses_and_each_file_says_what_it_exposes() {
    let names: Vec<String> = library().into_iter().map(|(_, scenario)| scenario.name).collect();
    assert_eq!(
        names,
        [
            "bad-disks",
            "bad-links",
            "blocks",
            "bursts-then-silence",
            "bus-crash",
            "bus-out-of-reach",
            "channel-deploy",
            "crowded-channel",
            "crowded-disk",
            "day-and-night",
            "deploy",
            "dropped-acks",
            "everyday-people",
            "flash-crowd",
            "gateway-crash",
            "graceful-deploy",
            "hellos-said-again",
            "hot-channel",
            "hot-conversation",
            "hundreds-of-conversations",
            "insiders",
            "liars",
            "messages-power-loss",
            "offline-week",
            "others-trouble",
            "partition-heals",
            "presence-flap",
            "presence-lost",
            "receipts-lost",
            "receipts",
            "reconnect-storm",
            "regimes",
            "registry-crash",
            "reinstalled",
            "restless-groups",
            "restless-links",
            "roles",
            "said-twice",
            "short-sessions",
            "silent-channels",
            "silent-conversations",
            "smoke",
            "stalls",
            "tokens-expire",
            "tokens-late",
            "tokens-run-out",
            "typing-storm"
        ]
    );
    for (file, scenario) in library() {
        assert_eq!(Some(scenario.name.as_str()), file.file_stem().and_then(|stem| stem.to_str()));
        assert!(scenario.description.len() > 80, "{} has no description", scenario.name);
        assert!(!scenario.faults.is_empty(), "{} has no faults", scenario.name);
    }
}

/// So every kind is run, and a sweep fails where one hits nothing.
#[test]
fn every_kind_of_fault_is_in_the_library() {
    let library = library();
    let kinds =
        |kind: &KindName| library.iter().any(|(_, file)| file.faults.iter().any(|f| f.kind.kind_name() == *kind));
    let missing: Vec<_> = KindName::ALL.iter().filter(|kind| !kinds(kind)).collect();
    assert!(missing.is_empty(), "no file of the library has {missing:?}");
}

#[test]
fn the_library_is_small_enough_for_sweeps() {
    for (_, scenario) in library() {
        let simulated = scenario.phases.ramp + scenario.phases.load + scenario.phases.quiet();
        assert!(simulated <= Span::from_secs(220), "{} simulates {simulated}", scenario.name);
        assert!(scenario.host_names().len() <= 10, "{} has many hosts", scenario.name);
    }
}

#[test]
fn what_is_written_parses_back_to_an_equal_scenario() {
    for (_, mut scenario) in library() {
        scenario.seed = Some(u64::MAX);
        assert_eq!(parse(&scenario.to_short_toml(), Path::new("x.toml")).as_ref(), Ok(&scenario));
        assert_eq!(parse(&scenario.to_toml(), Path::new("x.toml")), Ok(scenario));
    }
    let empty = parse("", Path::new("x.toml")).expect("everything has a default");
    assert_eq!(empty, Scenario { name: "x".to_owned(), ..Scenario::default() });
    assert_eq!(parse(&empty.to_toml(), Path::new("y.toml")), Ok(empty));
}

#[test]
fn what_the_keys_of_faults_can_say_survives_a_round_trip() {
    let side = |target: &str| Targets::from(target.parse::<Target>().expect("a target"));
    let (one, other) = (side("gateway-*"), side("messages-1"));
    let kinds = vec![
        FaultKind::Crash { target: one.clone(), point: None },
        FaultKind::Crash { target: Target::BusiestShard.into(), point: Some(Point::Acked) },
        FaultKind::RollingRestart {
            target: one.clone(),
            gap: Span::from_millis(20),
            graceful: false,
            window: None,
        },
        FaultKind::RollingRestart {
            target: one.clone(),
            gap: Span::ZERO,
            graceful: true,
            window: Some(Span::from_secs(3)),
        },
        FaultKind::Stop { target: one.clone(), window: None },
        FaultKind::Swizzle { between: one.clone(), and: other.clone() },
        FaultKind::Flap {
            between: side("one of gateway-*"),
            and: other.clone(),
            down: Span::from_millis(20),
            up: Span::from_millis(30),
        },
        FaultKind::DuplicateAcks { share: 0.1 },
        FaultKind::DelayAcks { share: 0.1, by: Span::from_millis(20) },
        FaultKind::DuplicateSends { share: 0.1 },
        FaultKind::ResendEverything { share: 0.1 },
        FaultKind::Reinstall { share: 0.1 },
        FaultKind::Liars { count: 5 },
        FaultKind::Insiders { count: 5, guessing: 2 },
        FaultKind::SlowReader { share: 0.1 },
        FaultKind::ProfileChange { share: 0.1, to: Profile::ThreeG },
        FaultKind::CarrierGone { carrier: None },
        FaultKind::CarrierGone { carrier: Some(Profile::Wifi) },
        FaultKind::PowerLoss { target: one.clone(), point: None },
        FaultKind::PowerLoss { target: other.clone(), point: Some(Point::SyncPage) },
        FaultKind::Partition { between: one.clone(), and: other.clone() },
        FaultKind::PartitionOneWay { from: side("clients"), to: one.clone() },
        FaultKind::Hold { between: one.clone(), and: other.clone() },
        FaultKind::Latency {
            between: one.clone(),
            and: other.clone(),
            add: Span::from_micros(1_001),
            jitter: Span::ZERO,
        },
        FaultKind::SlowLink { between: one.clone(), and: other.clone(), bytes_per_s: 10_000_000 },
        FaultKind::Loss { between: one.clone(), and: other.clone(), share: 0.5 },
        FaultKind::Refuse { from: side("clients"), to: one.clone() },
        FaultKind::Pause { target: one },
        FaultKind::Clock {
            target: other.clone(),
            ahead: Span::from_secs(1),
            behind: Span::ZERO,
            drift_ppm: -12.5,
        },
        FaultKind::DiskErrors { target: other.clone(), operation: DiskOperation::Sync, share: 0.01 },
        FaultKind::DiskFull { target: other.clone() },
        FaultKind::SlowDisk { target: other.clone(), add: Span::from_millis(20) },
        FaultKind::StalledDisk { target: other },
        FaultKind::DropSentAcks { share: 0.1 },
        FaultKind::DropDeviceAcks { share: 1.0 },
        FaultKind::Disconnect { share: 1e-9 },
        FaultKind::HalfOpen { share: 0.3 },
    ];
    let fault = |(index, kind): (usize, FaultKind)| {
        let lasts = (!kind.is_instant()).then(|| Span::from_secs(12));
        Fault {
            name: format!("\"{index}\" é\\"),
            at: Span::from_millis(7),
            within: (index % 2 == 0).then(|| Span::from_millis(40)),
            lasts,
            every: Some(Span::from_secs(14)),
            kind,
        }
    };
    let mut scenario = Scenario { name: "all kinds".to_owned(), ..Scenario::default() };
    scenario.network.last_mile.insert(Profile::ThreeG, 0.25);
    scenario.faults = kinds.into_iter().enumerate().map(fault).collect();
    assert_eq!(parse(&scenario.to_toml(), Path::new("x.toml")), Ok(scenario.clone()));
    assert_eq!(parse(&scenario.to_short_toml(), Path::new("x.toml")), Ok(scenario.clone()));
    let json = serde_json::to_string(&scenario).expect("a scenario is JSON too");
    assert_eq!(serde_json::from_str::<Scenario>(&json).ok(), Some(scenario));
}

#[test]
fn every_way_in_which_people_differ_survives_a_round_trip() {
    let mut scenario = Scenario { name: "people".to_owned(), ..Scenario::default() };
    scenario.population.devices_per_user =
        Mix::Mixture(vec![DevicesPart { share: 1.0, devices: 1 }, DevicesPart { share: 0.5, devices: 3 }]);
    scenario.population.direct_conversations_per_user =
        Mix::Mixture(vec![ConversationsPart { share: 2.0, conversations: 7 }]);
    scenario.population.direct_lifecycle =
        [(Life::OneShot, 0.5), (Life::Revisited, 0.25), (Life::Long, 0.25)].into();
    scenario.population.revisit_after = Span::from_secs(9);
    scenario.population.one_way_share = 0.3;
    scenario.population.giants = vec![Giant { name: "square".to_owned(), members: 20 }];
    scenario.workload.arrival = Arrival::Bursts;
    scenario.workload.burst_gap = Span::from_millis(200);
    scenario.workload.day_curve = vec![0.0, 1.5];
    scenario.workload.day_length = Span::from_secs(20);
    scenario.workload.flash_crowds = vec![FlashCrowd {
        at: Span::from_secs(3),
        lasts: Span::from_secs(2),
        times: 8.0,
        to: Some("square".to_owned()),
    }];
    scenario.workload.group_popularity = Popularity::Zipf { exponent: 1.2 };
    scenario.workload.partner_popularity = Popularity::HotSet { share: 0.1, traffic: 0.9 };
    scenario.workload.body_bytes = Mix::Mixture(vec![
        BodyPart { share: 0.9, bytes: 100, up_to: None },
        BodyPart { share: 0.1, bytes: 1_000, up_to: Some(16_384) },
    ]);
    let mean = LengthPart { share: 0.5, mean: Some(Span::from_secs(60)), from: None, to: None };
    let between =
        LengthPart { share: 0.5, mean: None, from: Some(Span::from_secs(1)), to: Some(Span::from_secs(2)) };
    scenario.workload.session_length = Mix::Mixture(vec![mean.clone(), between.clone()]);
    scenario.workload.away_length = Mix::Mixture(vec![between, mean]);
    assert_eq!(scenario.findings(), Vec::new());
    assert_eq!(parse(&scenario.to_toml(), Path::new("x.toml")), Ok(scenario.clone()));
    assert_eq!(parse(&scenario.to_short_toml(), Path::new("x.toml")), Ok(scenario.clone()));
    let json = serde_json::to_string(&scenario).expect("a scenario is JSON too");
    assert_eq!(serde_json::from_str::<Scenario>(&json).ok(), Some(scenario));
}

#[test]
fn a_group_is_at_most_everyone_unless_the_file_says_otherwise() {
    let scenario = parse("[population]\nusers = 20\ngroups = 1", Path::new("x.toml")).expect("sound");
    assert_eq!(scenario.population.group_size_max, 20);
}

/// Resolves `$ref` and finds a key among an object's properties, in alternatives too.
fn property<'s>(root: &'s Value, schema: &'s Value, key: &str) -> Option<&'s Value> {
    if let Some(target) = schema["$ref"].as_str() {
        return property(root, root.pointer(target.trim_start_matches('#'))?, key);
    }
    let alternatives = ["oneOf", "anyOf"].iter().filter_map(|word| schema[word].as_array()).flatten();
    let own = schema["properties"].get(key).or_else(|| schema.get("items").filter(|_| key == "[]"));
    own.or_else(|| alternatives.into_iter().find_map(|schema| property(root, schema, key)))
}

fn assert_described(root: &Value, schema: &Value, value: &Value, place: &str) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let described = property(root, schema, key);
                let described = described.unwrap_or_else(|| panic!("the schema does not describe {place}.{key}"));
                assert_described(root, described, value, &format!("{place}.{key}"));
            }
        }
        Value::Array(values) => {
            let described =
                property(root, schema, "[]").unwrap_or_else(|| panic!("the schema has no list at {place}"));
            values.iter().for_each(|value| assert_described(root, described, value, place));
        }
        _ => {}
    }
}

#[test]
fn the_schema_describes_every_key_of_the_library() {
    let schema: Value = serde_json::from_str(&json_schema()).expect("the schema is JSON");
    for source in sources() {
        let file: Value = toml::from_str(&source).expect("the library is TOML");
        assert_described(&schema, &schema, &file, "");
    }
}

/// The keys that the hand-written walk takes are those of the types: each key of the schema, set to what no key accepts,
/// is complained about as a wrong value, never as an unknown key.
#[test]
fn the_parser_knows_every_key_of_the_schema() {
    let schema: Value = serde_json::from_str(&json_schema()).expect("the schema is JSON");
    let keys = |schema: &Value| -> Vec<String> {
        schema["properties"].as_object().map(|keys| keys.keys().cloned().collect()).unwrap_or_default()
    };
    let mut files = Vec::new();
    for key in keys(&schema) {
        let section = schema["properties"][&key]["$ref"].as_str().and_then(|target| schema.pointer(&target[1..]));
        files.extend(
            section.map(keys).unwrap_or_default().iter().map(|inner| format!("[{key}]\n{inner} = 1979-05-27")),
        );
        files.push(format!("{key} = 1979-05-27"));
    }
    let fault = &schema["$defs"]["Fault"];
    for kind in fault["oneOf"].as_array().expect("a fault has kinds") {
        let name = kind["properties"]["kind"]["const"].as_str().expect("a kind has a name");
        assert!(FaultKind::NAMES.contains(&name), "{name}");
        for key in keys(fault).into_iter().chain(keys(kind)).filter(|key| key != "kind") {
            files.push(format!("[[faults]]\nkind = {name:?}\n{key} = 1979-05-27"));
        }
    }
    assert_eq!(fault["oneOf"].as_array().map(Vec::len), Some(FaultKind::NAMES.len()));
    assert!(files.len() > 80, "{} keys", files.len());
    for file in files {
        let problems = parse(&file, Path::new("x.toml")).expect_err(&file);
        assert!(problems.iter().all(|problem| !problem.message.contains("unknown")), "{file}\n{}", problems[0]);
        assert!(problems.iter().any(|problem| problem.message.contains("1979-05-27")), "{file}\n{}", problems[0]);
    }
}

/// The largest value of a key that is a number or a length of time, as a file writes it.
fn largest(root: &Value, schema: &Value) -> Option<&'static str> {
    if let Some(target) = schema["$ref"].as_str() {
        let named = if target.ends_with("/Span") { return Some("\"200000000d\"") } else { target };
        return largest(root, root.pointer(named.trim_start_matches('#'))?);
    }
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("integer"), Some("uint32")) => Some("4294967295"),
        (Some("integer"), _) => Some("9223372036854775807"),
        (Some("number"), _) => Some("1e300"),
        _ => alternatives.into_iter().find_map(|schema| largest(root, schema)),
    }
}

#[test]
fn every_number_and_time_in_a_section_has_bounds() {
    let schema: Value = serde_json::from_str(&json_schema()).expect("the schema is JSON");
    let (mut tried, mut unbounded) = (0, Vec::new());
    for (section, described) in schema["properties"].as_object().expect("a scenario has sections") {
        let section_keys = described["$ref"].as_str().and_then(|target| schema.pointer(&target[1..]));
        for (key, described) in section_keys.and_then(|s| s["properties"].as_object()).into_iter().flatten() {
            let Some(value) = largest(&schema, described) else { continue };
            tried += 1;
            if parse(&format!("[{section}]\n{key} = {value}"), Path::new("x.toml")).is_ok() {
                unbounded.push(key.as_str());
            }
        }
    }
    assert!(tried > 25, "{tried} keys");
    // These mean something beside `away_share` and `groups` only, and are bounded there.
    assert_eq!(unbounded, ["away_until", "group_size_max", "group_size_min"]);
}

/// Whatever the text: no panic, and every problem has a place in it.
fn assert_answers(source: &str) -> Result<(), TestCaseError> {
    match parse(source, Path::new("x.toml")) {
        Ok(scenario) => prop_assert_eq!(scenario.findings(), Vec::new()),
        Err(problems) => {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!((1..=source.lines().count() + 1).contains(&problem.line));
                prop_assert!((1..=problem.source_line.chars().count() + 2).contains(&problem.column));
                prop_assert!(!problem.to_string().is_empty() && !problem.help.is_empty());
            }
        }
    }
    Ok(())
}

/// Pieces that stand where TOML and this format have edges.
const PIECES: &[&str] = &[
    "",
    "\"",
    "'''",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "#",
    "\\",
    "\0",
    "\u{feff}",
    "ü",
    "🌩",
    "-",
    "0",
    "1e999",
    "nan",
    "-inf",
    "0x",
    "99999999999999999999",
    "true",
    "07:32:00",
    "[faults]",
    "[[faults]]\n",
    "[a.b]\n",
    "at = ",
    "kind = \"crash\"",
    "\"99999999999999999999d\"",
    "\"0s\"",
    "\"1.0000000000001s\"",
];

proptest! {
    #[test]
    fn a_mutated_library_file_is_answered(
        file in 0usize..17,
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, 0..PIECES.len()), 1..6),
    ) {
        let mut text: Vec<char> = sources().swap_remove(file).chars().collect();
        for (at, length, piece) in cuts {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, PIECES[piece].chars());
        }
        assert_answers(&text.into_iter().collect::<String>())?;
    }

    #[test]
    fn a_mutated_value_is_answered(
        file in 0usize..17,
        line in any::<prop::sample::Index>(),
        piece in 0..PIECES.len(),
    ) {
        let source = sources().swap_remove(file);
        let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
        let line = line.index(lines.len());
        if let Some((key, _)) = lines[line].clone().split_once('=') {
            lines[line] = format!("{key}= {}", PIECES[piece]);
        }
        assert_answers(&lines.join("\n"))?;
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,80}") {
        assert_answers(&text)?;
    }
}
