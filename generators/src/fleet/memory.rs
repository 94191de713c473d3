//! What the clients of a fleet take of memory, by their own rows, and what is read of it ahead of time.

use super::{Buffers, Client, Fleet, FrameFaults, Gone, LastMile};

impl<C> Client<C> {
    fn held_bytes(&self) -> usize {
        let buffers = self
            .buffers
            .as_ref()
            .map_or(0, |buffers| size_of::<Buffers>() + buffers.input.capacity() + buffers.output.capacity());
        let gone = self.gone.as_ref().map_or(0, |_| size_of::<Gone>());
        self.session.held_bytes() + buffers + gone
    }
}

impl<L: LastMile, F: FrameFaults> Fleet<L, F> {
    /// Prefetches what signals to these clients are about to use, by reading a little of it. Among millions each client is a cache miss, and reads
    /// that do not depend on each other overlap where handling one signal after the other would wait for each.
    pub fn prefetch(&self, clients: impl Iterator<Item = u32>) {
        let read = clients.filter_map(|index| self.clients.get(index)).fold(0, |read, client| {
            read ^ client.session.connect_count()
                ^ client.timer.0
                ^ u64::from(client.was_online)
                ^ u64::from(client.session.is_online())
        });
        std::hint::black_box(read);
    }

    /// Bytes of all clients, with their conversations, buffers and timers. What a fault keeps of frames is not counted: no client has it otherwise.
    pub fn held_bytes(&self) -> usize {
        let beside = self.clients.iter().map(Client::held_bytes).sum::<usize>();
        self.clients.bytes() + beside + self.queue.held_bytes() + self.writers.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use crate::fleet::{NoFrameFaults, Who};
    use crate::tokens::Backend;
    use crate::{Fleet, LastMile};
    use squall_core::Time;
    use squall_protocol::token::Issuer;
    use squall_scenarios::Scenario;
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    struct Nowhere;

    impl LastMile for Nowhere {
        type Conn = u32;

        fn open(&mut self, client: u32, _: u32) -> u32 {
            client
        }

        fn write(&mut self, _: u32, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn read(&mut self, _: u32, _: &mut Vec<u8>) -> io::Result<()> {
            Ok(())
        }

        fn close(&mut self, _: u32) {}

        fn cut(&mut self, _: u32) {}
    }

    #[test]
    fn a_client_takes_its_row_and_what_it_has_to_send() {
        struct Nobody;
        impl crate::Sink for Nobody {
            fn event(&mut self, _: squall_history::Event) {}
            fn latency(&mut self, _: crate::Latency) {}
            fn was_away(&mut self, _: squall_protocol::ClientMsgId, _: u64) {}
            fn is_no_sample(&mut self, _: squall_protocol::ClientMsgId) {}
        }
        let mut scenario = Scenario::default();
        scenario.population.users = 1_000;
        let who = Who::everybody(1, Arc::new(Backend::new(Issuer::of_secret("x"), 0, Duration::from_secs(600))));
        let mut fleet = Fleet::new(Nowhere, NoFrameFaults, &scenario, who);
        let devices = fleet.clients().len();
        let idle = fleet.held_bytes() - fleet.queue.held_bytes();
        assert!((devices * 100..=devices * 200).contains(&idle), "{idle} bytes of {devices} clients");
        let load = Time::ZERO + scenario.phases.load.as_duration();
        fleet.start_load(Time::ZERO, load);
        fleet.step(load, &mut Nobody);
        let sent = fleet.totals().sent as usize;
        let busy = fleet.held_bytes() - fleet.queue.held_bytes();
        assert!(sent > 0 && busy >= idle + 200 * sent, "{idle} and {busy} bytes with {sent} unanswered");
    }
}
