//! What happened around a message, as the history tells it, and the questions that one asks of it.

use crate::lives::tell_apart;
use squall_history::{Entity, Event, Hop, Kind};
use squall_protocol::ids::rendezvous;
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, UserId};

/// Events and hops in the order in which they happened.
#[derive(Debug, Clone, Default)]
pub struct Story {
    pub events: Vec<Event>,
    /// The names of hosts, by index.
    pub hosts: Vec<String>,
}

/// A time in a sentence.
pub fn at(t: u64) -> String {
    format!("{}.{:03} s", t / 1_000_000, t / 1_000 % 1_000)
}

/// How long something lasted, in a sentence: µs as ms, or as seconds where there are several.
pub fn lasted(us: u64) -> String {
    if us < 2_000_000 {
        format!("{} ms", us / 1_000)
    } else {
        format!("{}.{} s", us / 1_000_000, us / 100_000 % 10)
    }
}

/// A connection of a device as the device knew it.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    pub from: u64,
    pub until: Option<u64>,
    pub gateway: u16,
    pub count: u64,
    /// Why it ended.
    pub reason: &'static str,
}

/// A host's process ended.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    pub t: u64,
    pub lost_power: bool,
    /// It ended by itself, as it was asked to.
    pub asked: bool,
    pub restarted: Option<u64>,
}

impl Stop {
    /// In a sentence, after the host's name.
    pub fn verb(&self) -> String {
        let how = match (self.lost_power, self.asked) {
            (true, _) => "lost power",
            (false, true) => "ended as it was asked to",
            (false, false) => "crashed",
        };
        format!("{how} at {}", at(self.t))
    }
}

impl Story {
    /// Events in the order in which they happened, on these hosts.
    pub fn new(mut events: Vec<Event>, hosts: Vec<String>) -> Self {
        tell_apart(&mut events);
        Story { events, hosts }
    }

    /// Everything with its time and place.
    pub fn hops(&self) -> impl DoubleEndedIterator<Item = (&Event, &Hop)> {
        self.events.iter().filter_map(|event| match &event.kind {
            Kind::Hop(hop) => Some((event, hop)),
            _ => None,
        })
    }

    pub fn name(&self, at: Entity) -> String {
        match at {
            Entity::Host(host) => self.host(host),
            Entity::Device(device) => format!("device {device}"),
            Entity::World => "the world".to_owned(),
        }
    }

    pub fn host(&self, index: u16) -> String {
        self.hosts.get(usize::from(index)).cloned().unwrap_or_else(|| format!("host {index}"))
    }

    /// The index of a host by its name.
    pub fn index_of(&self, name: &str) -> Option<u16> {
        self.hosts.iter().position(|host| host == name).map(|index| index as u16)
    }

    pub fn has_role(&self, host: u16, role: &str) -> bool {
        self.hosts.get(usize::from(host)).is_some_and(|name| name.starts_with(role))
    }

    /// The shard that owns a conversation.
    pub fn shard_of(&self, conversation: ConversationId) -> Option<u16> {
        let shards = self.hosts.iter().filter(|name| name.starts_with("messages-")).count() as u32;
        (shards > 0)
            .then(|| rendezvous(conversation.spread(), shards))
            .and_then(|shard| self.index_of(&format!("messages-{shard}")))
    }

    pub fn registry_of(&self, user: UserId) -> Option<u16> {
        let registries = self.hosts.iter().filter(|name| name.starts_with("registry-")).count() as u32;
        (registries > 0)
            .then(|| rendezvous(user.0, registries))
            .and_then(|registry| self.index_of(&format!("registry-{registry}")))
    }

    /// The presence host of a user.
    pub fn presence_of(&self, user: UserId) -> Option<u16> {
        let hosts = self.hosts.iter().filter(|name| name.starts_with("presence-")).count() as u32;
        (hosts > 0).then(|| rendezvous(user.0, hosts)).and_then(|host| self.index_of(&format!("presence-{host}")))
    }

    /// A user's devices that have ever been connected, each once.
    pub fn devices_of_user(&self, user: UserId) -> Vec<DeviceId> {
        let connects = self.events.iter().filter_map(|event| match (&event.kind, event.at) {
            (Kind::Connect { user: of, .. }, Entity::Device(device)) if *of == user => Some(device),
            _ => None,
        });
        let mut devices: Vec<DeviceId> = connects.collect();
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// The bus that carries what is for a gateway.
    pub fn bus_of(&self, gateway: u32) -> Option<u16> {
        let buses = self.hosts.iter().filter(|name| name.starts_with("bus-")).count() as u32;
        (buses > 0)
            .then(|| rendezvous(u64::from(gateway), buses))
            .and_then(|bus| self.index_of(&format!("bus-{bus}")))
    }

    /// Where a message was sent.
    pub fn conversation_of(&self, message: ClientMsgId) -> Option<ConversationId> {
        self.events.iter().find_map(|event| match &event.kind {
            Kind::Send { conversation, client_msg_id, .. } if *client_msg_id == message => Some(*conversation),
            _ => None,
        })
    }

    /// Whose device it is, by whatever tells of it.
    pub fn user_of(&self, device: DeviceId) -> Option<UserId> {
        self.events.iter().find_map(|event| match (&event.kind, event.at) {
            (Kind::Connect { user, .. } | Kind::Display { user, .. }, Entity::Device(of)) if of == device => {
                Some(*user)
            }
            (Kind::Send { sender, .. }, Entity::Device(of)) if of == device => Some(*sender),
            (
                Kind::Hop(
                    Hop::Received { user, device: of, .. }
                    | Hop::Registered { user, device: of, .. }
                    | Hop::HeadsAsked { user, device: of },
                ),
                _,
            ) if *of == device => Some(*user),
            _ => None,
        })
    }

    /// The lives of a device before this one, the latest first.
    pub fn earlier_lives(&self, device: DeviceId) -> Vec<DeviceId> {
        let begun = self.events.iter().filter_map(|event| match (&event.kind, event.at) {
            (Kind::Reinstalled { number, .. }, Entity::Device(life)) => Some((life, *number)),
            _ => None,
        });
        let begun: Vec<(DeviceId, DeviceId)> = begun.collect();
        let Some(at) = begun.iter().position(|(life, _)| *life == device) else { return Vec::new() };
        let number = begun[at].1;
        let before = begun[..at].iter().rev().filter(|(_, of)| *of == number).map(|(life, _)| *life);
        before.chain([number]).collect()
    }

    /// The device's connections, in order.
    pub fn connections(&self, device: DeviceId) -> Vec<Connection> {
        let mut connections: Vec<Connection> = Vec::new();
        for event in self.events.iter().filter(|event| event.at == Entity::Device(device)) {
            match event.kind {
                Kind::Connect { gateway, connect_count, .. } => {
                    let count = connect_count;
                    connections.push(Connection { from: event.t, until: None, gateway, count, reason: "" });
                }
                Kind::Disconnect { reason } => {
                    if let Some(last) = connections.last_mut().filter(|last| last.until.is_none()) {
                        (last.until, last.reason) = (Some(event.t), reason);
                    }
                }
                _ => {}
            }
        }
        connections
    }

    /// Devices that have ever been connected to this gateway.
    pub fn devices_of(&self, gateway: Entity) -> impl Iterator<Item = DeviceId> {
        self.events.iter().filter_map(move |event| match (&event.kind, event.at) {
            (Kind::Connect { gateway: of, .. }, Entity::Device(device))
                if self.name(gateway) == format!("gateway-{of}") =>
            {
                Some(device)
            }
            _ => None,
        })
    }

    /// The connection that the device had at this time, as it thought.
    pub fn connected(&self, device: DeviceId, t: u64) -> Option<Connection> {
        let has = |c: &Connection| c.from <= t && c.until.is_none_or(|until| t < until);
        self.connections(device).into_iter().find(has)
    }

    /// The times at which a host's process ended.
    pub fn stops(&self, host: u16) -> Vec<Stop> {
        let mut stops: Vec<Stop> = Vec::new();
        for event in self.events.iter().filter(|event| event.at == Entity::Host(host)) {
            let stop = |lost_power| Stop { t: event.t, lost_power, asked: false, restarted: None };
            match event.kind {
                Kind::Crash => stops.push(stop(false)),
                Kind::Exit => stops.push(Stop { asked: true, ..stop(false) }),
                Kind::PowerLoss { .. } => stops.push(stop(true)),
                Kind::Restart => {
                    if let Some(last) = stops.last_mut() {
                        last.restarted.get_or_insert(event.t);
                    }
                }
                _ => {}
            }
        }
        stops
    }

    /// The last stop of a host between two times, neither of them included.
    pub fn stopped_between(&self, host: u16, from: u64, until: u64) -> Option<Stop> {
        self.stops(host).into_iter().rev().find(|stop| from < stop.t && stop.t < until)
    }

    /// The first stop of a host at or after a time.
    pub fn stopped_after(&self, host: u16, t: u64) -> Option<Stop> {
        self.stops(host).into_iter().find(|stop| stop.t >= t)
    }

    /// The faults in force on this host at this time, with when each began.
    pub fn faults_on(&self, host: u16, t: u64) -> Vec<(String, u64)> {
        let mut active: Vec<(String, u64)> = Vec::new();
        for event in self.events.iter().take_while(|event| event.t <= t) {
            if let Kind::Fault { name, active: begins, harm, .. } = &event.kind {
                match begins {
                    true if harm.hosts.contains(&host) => active.push((name.clone(), event.t)),
                    true => {}
                    false => active.retain(|(known, _)| known != name),
                }
            }
        }
        active
    }

    /// Faults on a host at a time, as a clause.
    pub fn while_faults(&self, host: u16, t: u64) -> String {
        match self.faults_on(host, t).first() {
            Some((name, since)) => {
                format!(", while the fault \"{name}\" (since {}) was on {}", at(*since), self.host(host))
            }
            None => String::new(),
        }
    }

    /// When the story ends.
    pub fn end(&self) -> u64 {
        self.events.last().map_or(0, |event| event.t)
    }
}
