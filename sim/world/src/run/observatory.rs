//! Takes every event of a run: to the checks, the history file, the digest and the latency histograms.

use super::bystanders::Bystanders;
use super::options::Listener;
use crate::hosts::hops::Followed;
use crate::memory::accounts::Account;
use rustc_hash::FxHashMap;
use squall_checks::Checks;
use squall_generators::{Latency, Sink};
use squall_history::{Event, Kind, Recorder};
use squall_outcome::Latencies;
use squall_protocol::ClientMsgId;
use squall_protocol::ids::mix;
use squall_scenarios::Measure;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Lines of what happens, shared with the network's trace.
pub type Trace = Arc<Mutex<Vec<String>>>;

/// Whoever follows something, and hears of it as it happens.
#[derive(Default)]
pub struct Listening {
    pub followed: Option<Followed>,
    pub on_event: Option<Listener<Event>>,
}

impl Listening {
    fn hear(&mut self, event: &Event) {
        let Some(followed) = &self.followed else { return };
        followed.learn(event);
        if let Some(on_event) = &mut self.on_event
            && followed.wants(event)
        {
            on_event(event);
        }
    }
}

/// Everything that is learnt while a run goes on.
pub struct Observatory {
    pub checks: Checks,
    recorder: Option<Recorder>,
    record_error: Option<io::Error>,
    /// Rolls over all events.
    pub digest: u64,
    /// Events of one second, for telling two runs apart.
    pub trace: Option<Trace>,
    hosts: Vec<String>,
    sent_at: FxHashMap<ClientMsgId, u64>,
    pub latencies: Latencies,
    /// The latencies of those whom no fault has touched, where a scenario asks for them.
    pub bystanders: Option<Bystanders>,
    pub events: u64,
    listening: Listening,
}

impl Observatory {
    pub fn new(checks: Checks, recorder: Option<Recorder>, hosts: Vec<String>, listening: Listening) -> Self {
        Observatory {
            checks,
            recorder,
            record_error: None,
            digest: 0,
            trace: None,
            hosts,
            sent_at: FxHashMap::default(),
            latencies: Latencies::new(),
            bystanders: None,
            events: 0,
            listening,
        }
    }

    /// Writes a line of the history, if there is one, and tells whoever follows.
    pub fn record(&mut self, event: &Event) {
        self.listening.hear(event);
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.record(event)
        {
            self.record_error = Some(error);
            self.recorder = None;
        }
    }

    /// Closes the history file; its first error if there was one.
    pub fn finish_history(&mut self) -> io::Result<()> {
        if let Some(error) = self.record_error.take() {
            return Err(error);
        }
        self.recorder.take().map_or(Ok(()), |recorder| recorder.finish().map(|_| ()))
    }
}

impl Sink for Observatory {
    fn event(&mut self, event: Event) {
        if matches!(event.kind, Kind::Hop(_)) {
            return self.record(&event);
        }
        let _account = Account::Histograms.enter();
        self.events += 1;
        match &event.kind {
            Kind::Send { client_msg_id, .. } => {
                self.sent_at.insert(*client_msg_id, event.t);
            }
            Kind::Sent { client_msg_id, .. } => {
                if let Some(sent) = self.sent_at.remove(client_msg_id) {
                    self.latencies.record(Measure::SendToAck, event.t - sent);
                }
            }
            Kind::Refused { client_msg_id, .. } => {
                self.sent_at.remove(client_msg_id);
            }
            _ => {}
        }
        self.bystanders.iter_mut().for_each(|bystanders| bystanders.handle_event(&event));
        self.digest = mix(self.digest ^ event.digest());
        if let Some(trace) = &mut self.trace {
            trace.lock().unwrap_or_else(PoisonError::into_inner).push(event.to_json(&self.hosts));
        }
        {
            let _account = Account::Checks.enter();
            self.checks.observe(&event);
        }
        self.record(&event);
    }

    fn latency(&mut self, latency: Latency) {
        let _account = Account::Histograms.enter();
        match latency {
            Latency::SendToDeliver(delivered) => {
                self.latencies.record(Measure::SendToDeliver, delivered.took_us);
                self.bystanders.iter_mut().for_each(|bystanders| bystanders.handle_delivered(&delivered));
            }
            Latency::Reconnect(us) => self.latencies.record(Measure::Reconnect, us),
            Latency::ReconnectByChoice(us) => self.latencies.record(Measure::ReconnectByChoice, us),
            Latency::AllBack(us) => self.latencies.record(Measure::AllBack, us),
        }
    }

    fn was_away(&mut self, message: ClientMsgId, us: u64) {
        if let Some(sent) = self.sent_at.get_mut(&message) {
            *sent += us;
        }
    }

    fn is_no_sample(&mut self, message: ClientMsgId) {
        self.sent_at.remove(&message);
    }
}
