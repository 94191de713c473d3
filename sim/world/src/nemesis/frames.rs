//! Single frames that are lost, doubled or late: `drop-sent-acks`, `drop-device-acks`, `duplicate-acks`, `delay-acks`,
//! `duplicate-sends`.
//!
//! They are carried out where frames pass, by [`ClientFaults`](squall_generators::client_faults::ClientFaults), under the number of
//! their fault, which is how they end as well.

use super::Stage;
use super::strike::Strike;
use squall_generators::client_faults::{ClientFault, Share};
use squall_generators::rng::Stream;
use squall_generators::{FrameFault, FrameKind};

/// Acks in both directions: of sends, and of deliveries.
pub(super) const ACKS: &[FrameKind] = &[FrameKind::Sent, FrameKind::Ack];
pub(super) const SENDS: &[FrameKind] = &[FrameKind::Send];

/// A share of something that this strike draws by itself.
fn share_of(fault: usize, strike: &mut Strike, share: f64) -> Share {
    Share { fault, share, stream: Stream::from_key(strike.stream.next_u64()) }
}

pub(super) fn cut_sent_acks(fault: usize, strike: &mut Strike, share: f64, stage: &Stage<'_>) {
    stage.client_faults.begin(ClientFault::CutSentAcks(share_of(fault, strike, share)));
}

pub(super) fn cut_device_acks(fault: usize, strike: &mut Strike, share: f64, stage: &Stage<'_>) {
    stage.client_faults.begin(ClientFault::CutDeviceAcks(share_of(fault, strike, share)));
}

pub(super) fn begin(
    fault: usize,
    strike: &mut Strike,
    share: f64,
    (frames, what): (&'static [FrameKind], FrameFault),
    stage: &Stage<'_>,
) {
    let share = share_of(fault, strike, share);
    stage.client_faults.begin(ClientFault::Frames { share, frames, what });
}
