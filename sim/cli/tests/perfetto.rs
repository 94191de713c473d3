//! `squall explain --perfetto`, read with Perfetto's own definitions, as a crate of others ships them: what Perfetto demands of a trace holds
//! for it, and it tells the way of the message.

mod common;

use common::{squall, text, violated};
use micromegas_perfetto::protos::trace_packet::{Data, OptionalTrustedPacketSequenceId};
use micromegas_perfetto::protos::track_event::{NameField, Type};
use micromegas_perfetto::protos::{Trace, TracePacket, TrackDescriptor, TrackEvent, debug_annotation};
use prost_of_perfetto::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn explained(dir: &Path, what: &[&str]) -> Vec<u8> {
    let file = dir.join("story.pftrace");
    let (dir, named) = (dir.display().to_string(), file.display().to_string());
    let output = squall(&[&["explain", &dir, "--perfetto", &named], what].concat());
    assert_eq!(output.status.code(), Some(0), "{what:?}: {}", text(&output.stderr));
    std::fs::read(file).unwrap()
}

/// What a trace has, as Perfetto understands it.
struct Read {
    /// The names of processes and, after a slash, of threads, by track.
    tracks: BTreeMap<u64, String>,
    /// Instants by name, with their track, in order.
    marks: Vec<(u64, String)>,
    /// The names of slices in order of their beginnings.
    slices: Vec<String>,
    /// Whether a slice stood in another one.
    has_nested: bool,
    /// Each arrow's ends: names of instants.
    flows: Vec<(String, String)>,
    notes: Vec<String>,
}

fn name(event: &TrackEvent) -> String {
    match &event.name_field {
        Some(NameField::Name(name)) => name.clone(),
        other => panic!("an event has the name {other:?}"),
    }
}

fn describe(track: &TrackDescriptor, tracks: &mut BTreeMap<u64, String>) {
    let uuid = track.uuid.expect("a track has a number");
    let named = match (&track.process, &track.thread) {
        (Some(process), None) => {
            assert!(process.pid.is_some_and(|pid| pid > 0) && track.parent_uuid.is_none(), "{track:?}");
            process.process_name.clone().expect("a process has a name")
        }
        (None, Some(thread)) => {
            let parent = track.parent_uuid.expect("a thread stands under a process");
            let of =
                tracks.get(&parent).unwrap_or_else(|| panic!("track {parent} is not described before {uuid}"));
            assert_eq!(thread.pid, Some(parent as i32));
            // A thread with the number of a process would be its main one.
            assert!(!tracks.contains_key(&(thread.tid.unwrap() as u64)), "{track:?}");
            format!("{of}/{}", thread.thread_name.clone().expect("a thread has a name"))
        }
        _ => panic!("neither a process nor a thread: {track:?}"),
    };
    assert!(!tracks.values().any(|known| *known == named), "{named} is described twice");
    assert!(tracks.insert(uuid, named).is_none(), "track {uuid} is described twice");
}

/// Reads a trace and holds it to what Perfetto demands.
fn read(bytes: &[u8]) -> Read {
    let trace = Trace::decode(bytes).expect("Perfetto's definitions read it");
    assert_eq!(trace.encode_to_vec().len(), bytes.len(), "something is not in Perfetto's definitions");
    let mut read = Read {
        tracks: BTreeMap::new(),
        marks: Vec::new(),
        slices: Vec::new(),
        has_nested: false,
        flows: Vec::new(),
        notes: Vec::new(),
    };
    let mut last = 0;
    let mut open: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut flows: BTreeMap<u64, String> = BTreeMap::new();
    let mut ended: BTreeSet<u64> = BTreeSet::new();
    for (index, packet) in trace.packet.iter().enumerate() {
        let TracePacket { data, optional_trusted_packet_sequence_id, sequence_flags, timestamp, .. } = packet;
        let sequence = Some(OptionalTrustedPacketSequenceId::TrustedPacketSequenceId(1));
        assert_eq!(*optional_trusted_packet_sequence_id, sequence, "packet {index}");
        assert_eq!(*sequence_flags, (index == 0).then_some(1), "packet {index}");
        let event = match data {
            Some(Data::TrackDescriptor(track)) => {
                describe(track, &mut read.tracks);
                continue;
            }
            Some(Data::TrackEvent(event)) => event,
            other => panic!("packet {index} is {other:?}"),
        };
        let t = timestamp.expect("an event has a time");
        assert!(last <= t, "packet {index} is of {t}, after one of {last}");
        last = t;
        let track = event.track_uuid.expect("an event has a track");
        assert!(read.tracks.contains_key(&track), "track {track} is not described before its event");
        let stack = open.entry(track).or_default();
        match event.r#type() {
            Type::SliceBegin => {
                read.has_nested |= !stack.is_empty();
                stack.push(name(event));
                read.slices.push(name(event));
            }
            Type::SliceEnd => {
                drop(stack.pop().unwrap_or_else(|| panic!("packet {index} ends what did not begin")))
            }
            Type::Instant => read.marks.push((track, name(event))),
            other => panic!("packet {index} is {other:?}"),
        }
        for flow in &event.flow_ids {
            assert!(flows.insert(*flow, name(event)).is_none(), "flow {flow} begins twice");
        }
        for flow in &event.terminating_flow_ids {
            let from = flows.get(flow).unwrap_or_else(|| panic!("flow {flow} ends before it begins"));
            assert!(ended.insert(*flow), "flow {flow} ends twice");
            read.flows.push((from.clone(), name(event)));
        }
        for note in &event.debug_annotations {
            if let Some(debug_annotation::Value::StringValue(value)) = &note.value {
                read.notes.push(value.clone());
            }
        }
    }
    assert!(open.values().all(Vec::is_empty), "slices have no end: {open:?}");
    assert_eq!(ended.len(), flows.len(), "flows have no end: {flows:?}");
    read
}

#[test]
fn a_trace_is_as_perfetto_demands_and_tells_the_way_of_the_message() {
    let dir = violated("perfetto-story", "lost-acks", "no-server-dedup", &[]);
    let bytes = explained(&dir, &[]);
    assert!(bytes == explained(&dir, &[]), "the same record came to two traces");
    let trace = read(&bytes);
    let tracks: Vec<&str> = trace.tracks.values().map(String::as_str).collect();
    for role in ["device ", "gateway-", "messages-", "registry-", "bus-"] {
        assert!(tracks.iter().any(|track| track.starts_with(role) && !track.contains('/')), "{role}: {tracks:?}");
    }
    assert!(tracks.iter().any(|track| track.starts_with("messages-") && track.ends_with("/disk")), "{tracks:?}");
    for slice in
        ["connected to ", "waits for the ack of ", "owes the answer to ", "commits seq ", "waits for registry-"]
    {
        assert!(trace.slices.iter().any(|name| name.starts_with(slice)), "{slice}: {:?}", trace.slices);
    }
    for (from, to) in [
        ("sends it", "gets it as number"),
        ("gets it as number", "gets it as number"),
        ("gets it as number", "gives it seq"),
        ("gives it seq", "to its disk"),
        ("to its disk", "has synced"),
        ("has synced", "is committed"),
        ("is committed", "answers the ack"),
        ("is committed", "asks registry-"),
        ("asks registry-", "is told of"),
        ("is told of", "publishes seq"),
        ("publishes seq", "has seq"),
        ("has seq", "hands on the delivery"),
        ("hands on the delivery", "gets a delivery"),
    ] {
        let is_there = trace.flows.iter().any(|(begin, end)| begin.contains(from) && end.contains(to));
        assert!(is_there, "nothing leads from {from:?} to {to:?}: {:#?}", trace.flows);
    }
    let last = trace.marks.iter().rfind(|(_, name)| name == "no-duplicates is broken");
    assert!(last.is_some_and(|(track, _)| trace.tracks[track].starts_with("device ")), "{:?}", trace.marks);
    assert!(trace.notes.iter().any(|note| note.starts_with("stored twice, at seq ")), "{:?}", trace.notes);
    assert!(!trace.notes.iter().any(|note| note.contains("no-server-dedup")), "{:?}", trace.notes);
}

#[test]
fn a_device_and_a_conversation_have_a_trace_too_and_a_crash_is_a_slice() {
    let dir = violated("perfetto-whole", "power-loss", "commit-without-sync", &[]);
    let record: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(dir.join("run.json")).unwrap()).unwrap();
    let firsts = record["checks"].as_array().unwrap().iter().map(|check| &check["first"]);
    let conversation = firsts.filter_map(|first| first["conversation"].as_str()).next().unwrap().to_owned();
    let whole = read(&explained(&dir, &["--conversation", &conversation]));
    assert!(whole.slices.iter().any(|name| name == "without power"), "{:?}", whole.slices);
    assert!(whole.tracks.values().any(|track| track == "faults/in force"), "{:?}", whole.tracks);
    assert!(whole.marks.iter().any(|(_, name)| name.starts_with("shows seq ")), "nothing is shown");
    let displayed = |(from, to): &&(String, String)| from.starts_with("gets a ") && to.starts_with("shows seq ");
    assert!(whole.flows.iter().any(|flow| displayed(&flow)), "no arrow leads to what is shown");
    let device = read(&explained(&dir, &["--device", "1"]));
    assert!(device.marks.len() > 10 && device.tracks.values().any(|track| track == "device 1/connection"));
    assert!(
        whole.has_nested || device.has_nested,
        "no slice stands in another one: nothing proves that they nest"
    );
}

#[test]
fn a_trace_that_cannot_be_written_is_said() {
    let dir = violated("perfetto-refused", "lost-acks", "no-server-dedup", &[]);
    let named = dir.display().to_string();
    for (file, hint) in [
        ("no/such/folder/story.pftrace", "No such file or directory"),
        (named.as_str(), "Is a directory"),
        ("/dev/full", "No space left on device"),
    ] {
        let output = squall(&["explain", &named, "--perfetto", file]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{file}: {said}");
        assert!(said.contains(hint) && said.contains("name another file with --perfetto"), "{file}: {said}");
    }
}
