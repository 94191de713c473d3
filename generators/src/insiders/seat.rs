//! A connection that an insider holds, and the device that it speaks for: WebSocket bytes in and out, and what the device knows.

use crate::LastMile;
use crate::population::Population;
use crate::websocket;
use squall_core::Time;
use squall_history::What;
use squall_protocol::{ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, DeviceId, Seq};
use std::collections::BTreeMap;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Carries attacks, and behaves otherwise.
    Main,
    /// The main device once more, with a count that is not its own.
    Double,
    /// Another device, with the highest count.
    Boaster,
    /// Another device, which reads nothing.
    Deaf,
    /// Another device, which acks nothing.
    Mute,
    /// One more.
    Spare,
    /// A device number of somebody else's.
    Guesser,
}

/// The connections of one insider, in order, each with the device that it is of. The last one only those have who guess: it is of
/// another device each time.
pub(super) const SEATS: [(Role, usize); 7] = [
    (Role::Main, 0),
    (Role::Double, 0),
    (Role::Boaster, 1),
    (Role::Deaf, 2),
    (Role::Mute, 3),
    (Role::Spare, 4),
    (Role::Guesser, DEVICES),
];
/// Devices of one insider, before any guess.
pub(super) const DEVICES: usize = 5;

/// What a device knows, whatever its connections are.
pub(super) struct Device {
    /// As events name it.
    pub id: DeviceId,
    /// The device of another person, by its index, by whose number it goes.
    pub guessed: Option<u32>,
    pub connects: u64,
    /// Connections on which it has been welcomed.
    pub welcomed: u32,
    pub next: BTreeMap<ConversationId, ClientSeq>,
    pub shown: BTreeMap<ConversationId, Seq>,
    /// Its own messages that have no answer: what is shown in their place when it comes.
    pub sent: BTreeMap<ClientMsgId, (ConversationId, u64, What)>,
    pub last: Option<ClientFrame>,
}

impl Device {
    pub fn new(id: DeviceId, guessed: Option<u32>) -> Self {
        let (next, shown, sent) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Device { id, guessed, connects: 0, welcomed: 0, next, shown, sent, last: None }
    }

    /// As it names itself.
    pub fn number(&self, population: &Population) -> DeviceId {
        self.guessed.map_or(self.id, |victim| population.device(victim))
    }

    pub fn shown_up_to(&self, conversation: ConversationId) -> Seq {
        self.shown.get(&conversation).copied().unwrap_or(Seq::ZERO)
    }
}

/// One connection.
pub(super) struct Seat<C> {
    pub role: Role,
    /// Its insider's device.
    pub device: usize,
    pub conn: Option<C>,
    pub gateway: u16,
    pub upgraded: bool,
    pub greeted: bool,
    pub welcomed: bool,
    pub next: Time,
    pub input: Vec<u8>,
    output: Vec<u8>,
}

impl<C: Copy + Eq> Seat<C> {
    pub fn new(role: Role, device: usize) -> Self {
        Seat {
            role,
            device,
            conn: None,
            gateway: 0,
            upgraded: false,
            greeted: false,
            welcomed: false,
            next: Time::ZERO,
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Every other connection speaks the other codec.
    pub fn codec(&self) -> Codec {
        if self.device.is_multiple_of(2) { Codec::Json } else { Codec::Protobuf }
    }

    pub fn opened(&mut self, conn: C, gateway: u16) {
        *self = Seat { conn: Some(conn), gateway, ..Seat::new(self.role, self.device) };
    }

    pub fn write_frame(&mut self, frame: &ClientFrame, mask: u32) {
        let codec = self.codec();
        websocket::write(&mut self.output, codec.is_binary(), &codec.encode_client(frame), mask);
    }

    pub fn write_bytes(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Bytes of a frame that the codec would take, were it not for their number.
    pub fn write_oversized(&mut self, len: usize, mask: u32) {
        let binary = self.codec().is_binary();
        websocket::write(&mut self.output, binary, &vec![b' '; len], mask);
    }

    /// Hands on what the network takes; the rest waits for `Writable`.
    pub fn flush(&mut self, last_mile: &mut impl LastMile<Conn = C>) {
        let Some(conn) = self.conn else { return self.output.clear() };
        if let Ok(written) = last_mile.write(conn, &self.output) {
            self.output.drain(..written);
        }
    }

    /// Whether more waits for the network than an attacker cares to keep.
    pub fn is_stuffed(&self) -> bool {
        self.output.len() > 256 * 1024
    }
}
