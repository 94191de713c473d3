//! One pair: keeps so many messages in flight, and takes the time of each.
//!
//! A message is in flight until the server has acknowledged it *and* the other end has it. Whatever comes together is taken together before anything
//! is written, so that one write carries many frames, whichever the server.

use crate::servers::{Receiving, Sending, body};
use anyhow::{Result, bail, ensure};
use futures_util::FutureExt;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What is still in flight this long after the end is lost.
const DRAIN: Duration = Duration::from_secs(15);

/// When what happens counts.
#[derive(Clone, Copy)]
pub struct Period {
    pub from: Instant,
    pub until: Instant,
}

/// How far a pair has come, and what was counted.
pub struct Progress {
    period: Period,
    pub sent: u64,
    pub acked: u64,
    pub shown: u64,
    /// When the messages were sent that are in flight; the first has the number `complete() + 1`.
    sent_at: VecDeque<Instant>,
    /// Messages that became acked and shown within the period.
    pub counted: u64,
    pub to_ack_us: Histogram<u64>,
    pub to_show_us: Histogram<u64>,
}

pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds and digits are allowed")
}

impl Progress {
    pub fn new(period: Period) -> Self {
        let (to_ack_us, to_show_us) = (histogram(), histogram());
        Progress {
            period,
            sent: 0,
            acked: 0,
            shown: 0,
            sent_at: VecDeque::new(),
            counted: 0,
            to_ack_us,
            to_show_us,
        }
    }

    fn complete(&self) -> u64 {
        self.acked.min(self.shown)
    }

    fn in_flight(&self) -> u64 {
        self.sent - self.complete()
    }

    fn handle_acked(&mut self, up_to: u64, now: Instant) -> Result<()> {
        ensure!(up_to <= self.sent, "message {up_to} was acked, {} were sent", self.sent);
        while self.acked < up_to {
            self.count(self.acked + 1, now, |progress| &mut progress.to_ack_us);
            self.advance(now, |progress| progress.acked += 1);
        }
        Ok(())
    }

    fn handle_shown(&mut self, number: u64, now: Instant) -> Result<()> {
        ensure!(number == self.shown + 1, "message {number} arrived after message {}", self.shown);
        self.count(number, now, |progress| &mut progress.to_show_us);
        self.advance(now, |progress| progress.shown += 1);
        Ok(())
    }

    fn counts(&self, now: Instant) -> bool {
        (self.period.from..self.period.until).contains(&now)
    }

    fn count(&mut self, number: u64, now: Instant, into: impl Fn(&mut Self) -> &mut Histogram<u64>) {
        if self.counts(now) {
            let took = now - self.sent_at[(number - self.complete() - 1) as usize];
            into(self).saturating_record(took.as_micros() as u64);
        }
    }

    fn advance(&mut self, now: Instant, step: impl Fn(&mut Self)) {
        let before = self.complete();
        step(self);
        if self.complete() > before {
            self.sent_at.pop_front();
            self.counted += u64::from(self.counts(now));
        }
    }
}

/// Drives a pair until the period is over and nothing is in flight.
pub async fn drive<S: Sending, R: Receiving>(
    (sender, receiver): &mut (S, R),
    window: u64,
    progress: &mut Progress,
) -> Result<()> {
    let end = sleep_until(progress.period.until);
    let give_up = sleep_until(progress.period.until + DRAIN);
    tokio::pin!(end, give_up);
    let mut sending = true;
    loop {
        if sending && progress.in_flight() < window {
            while progress.in_flight() < window {
                progress.sent += 1;
                progress.sent_at.push_back(Instant::now());
                sender.send(body(progress.sent)).await?;
            }
            sender.flush().await?;
        }
        if !sending && progress.in_flight() == 0 {
            return Ok(());
        }
        tokio::select! {
            acked = sender.acked() => progress.handle_acked(acked?, Instant::now())?,
            number = receiver.next() => progress.handle_shown(number?, Instant::now())?,
            () = &mut end, if sending => sending = false,
            () = &mut give_up => bail!("of {} messages {} were acked and {} arrived", progress.sent, progress.acked, progress.shown),
        }
        while let Some(acked) = sender.acked().now_or_never() {
            progress.handle_acked(acked?, Instant::now())?;
        }
        while let Some(number) = receiver.next().now_or_never() {
            progress.handle_shown(number?, Instant::now())?;
        }
        receiver.acknowledge().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_message_counts_once_it_is_acked_and_shown_within_the_period() {
        let start = Instant::now();
        let mut progress = Progress::new(Period { from: at(start, 100), until: at(start, 200) });
        for ms in [90, 100, 195] {
            progress.sent += 1;
            progress.sent_at.push_back(at(start, ms));
        }
        progress.handle_acked(1, at(start, 95)).unwrap();
        assert_eq!((progress.in_flight(), progress.counted, progress.to_ack_us.len()), (3, 0, 0));
        progress.handle_shown(1, at(start, 110)).unwrap();
        assert_eq!((progress.in_flight(), progress.counted), (2, 1));
        progress.handle_shown(2, at(start, 130)).unwrap();
        progress.handle_acked(3, at(start, 199)).unwrap();
        assert_eq!((progress.in_flight(), progress.counted), (1, 2));
        progress.handle_shown(3, at(start, 201)).unwrap();
        assert_eq!((progress.in_flight(), progress.counted), (0, 2));
        assert_eq!((progress.to_show_us.len(), progress.to_show_us.max() / 1000), (2, 30));
        assert_eq!((progress.to_ack_us.len(), progress.to_ack_us.max() / 1000), (2, 99));
    }

    #[test]
    fn what_was_not_sent_or_is_out_of_order_is_told() {
        let start = Instant::now();
        let mut progress = Progress::new(Period { from: start, until: at(start, 1) });
        progress.sent = 1;
        progress.sent_at.push_back(start);
        assert!(progress.handle_acked(2, start).is_err());
        assert!(progress.handle_shown(2, start).is_err());
        progress.handle_shown(1, start).unwrap();
        assert!(progress.handle_shown(1, start).is_err());
    }
}
