//! A trace in Perfetto's format: of its TrackEvent protobuf (`protos/perfetto/trace/track_event/` in Perfetto's repository) the few messages
//! that a trace needs, by the numbers and types that they have there.
//!
//! A host or a device is a process track, its rows are thread tracks. Perfetto's identifiers of processes and threads are ours: the numbers
//! of tracks. That others read the same in it is held by `sim/cli/tests/perfetto.rs`, with the definitions of another crate.
//!
//! **Invariant:** all packets are of one sequence and in order of time.

use super::Trace;
use crate::story::Tone;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Packets {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<TracePacket>,
}

#[derive(Clone, PartialEq, Message)]
struct TracePacket {
    /// In ns.
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(uint32, optional, tag = "13")]
    sequence_flags: Option<u32>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(message, optional, tag = "3")]
    process: Option<ProcessDescriptor>,
    #[prost(message, optional, tag = "4")]
    thread: Option<ThreadDescriptor>,
    #[prost(uint64, optional, tag = "5")]
    parent_uuid: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct ProcessDescriptor {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    legacy_sort_index: Option<i32>,
    #[prost(string, optional, tag = "6")]
    process_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ThreadDescriptor {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    tid: Option<i32>,
    #[prost(string, optional, tag = "5")]
    thread_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<DebugAnnotation>,
    #[prost(int32, optional, tag = "9")]
    r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(string, repeated, tag = "22")]
    categories: Vec<String>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    flow_ids: Vec<u64>,
    #[prost(fixed64, repeated, packed = "false", tag = "48")]
    terminating_flow_ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct DebugAnnotation {
    #[prost(string, optional, tag = "6")]
    string_value: Option<String>,
    #[prost(string, optional, tag = "10")]
    name: Option<String>,
}

/// `TrackEvent.Type`.
const SLICE_BEGIN: i32 = 1;
const SLICE_END: i32 = 2;
const INSTANT: i32 = 3;
/// `TracePacket.SequenceFlags`: nothing that was said before is meant.
const INCREMENTAL_STATE_CLEARED: u32 = 1;
const SEQUENCE: u32 = 1;

/// Packets in their order.
#[derive(Default)]
struct Writer {
    packets: Vec<TracePacket>,
}

impl Writer {
    fn push(&mut self, packet: TracePacket) {
        let sequence_flags = self.packets.is_empty().then_some(INCREMENTAL_STATE_CLEARED);
        self.packets.push(TracePacket { trusted_packet_sequence_id: Some(SEQUENCE), sequence_flags, ..packet });
    }

    fn describe(&mut self, track: TrackDescriptor) {
        self.push(TracePacket { track_descriptor: Some(track), ..TracePacket::default() });
    }

    fn event(&mut self, t: u64, event: TrackEvent) {
        self.push(TracePacket { timestamp: Some(t * 1_000), track_event: Some(event), ..TracePacket::default() });
    }
}

fn category(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "step",
        Tone::Fault => "fault",
        Tone::Wrong => "violation",
    }
}

/// The number of the track of each row of each track.
fn describe(trace: &Trace, rows: &[usize], writer: &mut Writer) -> Vec<Vec<u64>> {
    let mut uuids: Vec<Vec<u64>> = Vec::new();
    let (mut process, mut next) = (0, 1);
    for (index, track) in trace.tracks.iter().enumerate() {
        let mut take = || {
            next += 1;
            next - 1
        };
        if index == 0 || trace.tracks[index - 1].of != track.of {
            process = take();
            let descriptor = ProcessDescriptor {
                pid: Some(process as i32),
                legacy_sort_index: Some(process as i32),
                process_name: Some(track.of.clone()),
            };
            writer.describe(TrackDescriptor {
                uuid: Some(process),
                process: Some(descriptor),
                ..TrackDescriptor::default()
            });
        }
        let of_row = |row: usize| {
            let uuid = take();
            let name = if row == 0 { track.name.clone() } else { format!("{} {}", track.name, row + 1) };
            let descriptor =
                ThreadDescriptor { pid: Some(process as i32), tid: Some(uuid as i32), thread_name: Some(name) };
            writer.describe(TrackDescriptor {
                uuid: Some(uuid),
                thread: Some(descriptor),
                parent_uuid: Some(process),
                ..TrackDescriptor::default()
            });
            uuid
        };
        uuids.push((0..rows[index]).map(of_row).collect());
    }
    uuids
}

pub fn write(trace: &Trace) -> Vec<u8> {
    let (row_of, rows) = trace.rows();
    let mut writer = Writer::default();
    let uuids = describe(trace, &rows, &mut writer);
    let uuid = |span: usize| Some(uuids[trace.spans[span].track][row_of[span]]);
    // By the marks with which they begin and end; the one after the last is the end of all that has none.
    let mut begin: Vec<Vec<usize>> = vec![Vec::new(); trace.marks.len()];
    let mut end: Vec<Vec<usize>> = vec![Vec::new(); trace.marks.len() + 1];
    for (span, at) in trace.spans.iter().enumerate() {
        begin[at.from].push(span);
        end[trace.end(span)].push(span);
    }
    begin.iter_mut().for_each(|spans| spans.sort_by_key(|&span| (std::cmp::Reverse(trace.end(span)), span)));
    end.iter_mut().for_each(|spans| {
        spans.sort_by_key(|&span| {
            (std::cmp::Reverse(trace.spans[span].from), trace.end(span), std::cmp::Reverse(span))
        })
    });
    let mut leaving: Vec<Vec<u64>> = vec![Vec::new(); trace.marks.len()];
    let mut coming: Vec<Vec<u64>> = vec![Vec::new(); trace.marks.len()];
    for (flow, &(from, to)) in trace.flows.iter().enumerate() {
        leaving[from].push(flow as u64 + 1);
        coming[to].push(flow as u64 + 1);
    }
    let close = |writer: &mut Writer, t: u64, span: usize| {
        writer.event(t, TrackEvent { r#type: Some(SLICE_END), track_uuid: uuid(span), ..TrackEvent::default() });
    };
    for (number, mark) in trace.marks.iter().enumerate() {
        for &span in &begin[number] {
            let of = &trace.spans[span];
            let note = of.until.is_none().then(|| annotation("end", "not in the story"));
            writer.event(
                mark.t,
                TrackEvent {
                    r#type: Some(SLICE_BEGIN),
                    track_uuid: uuid(span),
                    categories: vec![category(of.tone).to_owned()],
                    name: Some(of.text.clone()),
                    debug_annotations: note.into_iter().collect(),
                    ..TrackEvent::default()
                },
            );
        }
        writer.event(
            mark.t,
            TrackEvent {
                r#type: Some(INSTANT),
                track_uuid: Some(uuids[mark.track][0]),
                categories: vec![category(mark.tone).to_owned()],
                name: Some(mark.text.clone()),
                debug_annotations: mark.note.iter().map(|(name, value)| annotation(name, value)).collect(),
                flow_ids: std::mem::take(&mut leaving[number]),
                terminating_flow_ids: std::mem::take(&mut coming[number]),
            },
        );
        end[number].iter().for_each(|&span| close(&mut writer, mark.t, span));
    }
    let last = trace.marks.last().map_or(0, |mark| mark.t);
    end[trace.marks.len()].iter().for_each(|&span| close(&mut writer, last, span));
    Packets { packet: writer.packets }.encode_to_vec()
}

fn annotation(name: &str, value: &str) -> DebugAnnotation {
    DebugAnnotation { name: Some(name.to_owned()), string_value: Some(value.to_owned()) }
}
