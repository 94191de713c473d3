//! The sockets of a thread, as one of its fleets sees them.

use super::{Conn, Sockets};
use crate::target::Target;
use squall_core::Time;
use squall_generators::LastMile;
use squall_generators::client_faults::SharedClientFaults;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// One fleet's last mile: its clients are numbered from `first` on among those of the thread.
#[derive(Clone)]
pub struct Mile {
    pub sockets: Rc<RefCell<Sockets>>,
    pub targets: Arc<[Target]>,
    pub first: u32,
    pub now: Rc<Cell<Time>>,
}

impl Mile {
    /// Puts every connection on the profile that all active faults together say; how many that changed.
    pub fn change_profiles(&self, faults: &SharedClientFaults) -> u64 {
        let mut sockets = self.sockets.borrow_mut();
        let Sockets { rows, delays, .. } = &mut *sockets;
        let (Some(delays), faults) = (delays, faults.lock()) else { return 0 };
        let links =
            rows.iter_mut().filter_map(|(_, socket)| Some((socket.client, socket.parts.as_mut()?.link.as_mut()?)));
        links.map(|(client, link)| u64::from(delays.change(link, client, faults.profile_of(client)))).sum()
    }
}

impl LastMile for Mile {
    type Conn = Conn;

    fn open(&mut self, client: u32, gateway: u32) -> Conn {
        self.sockets.borrow_mut().open(self.first + client, gateway)
    }

    fn resource(&self, gateway: u32) -> (&str, &str) {
        let target = &self.targets[gateway as usize];
        (&target.authority, &target.path)
    }

    fn write(&mut self, conn: Conn, bytes: &[u8]) -> io::Result<usize> {
        self.sockets.borrow_mut().write(conn, bytes, self.now.get())
    }

    fn read(&mut self, conn: Conn, into: &mut Vec<u8>) -> io::Result<()> {
        let mut sockets = self.sockets.borrow_mut();
        if let Some(socket) = sockets.get(conn) {
            socket.is_unread = false;
            if let Some(parts) = &mut socket.parts {
                into.append(&mut parts.held);
            }
        }
        if sockets.current == Some(conn) {
            into.append(&mut sockets.incoming);
        }
        Ok(())
    }

    fn close(&mut self, conn: Conn) {
        self.sockets.borrow_mut().close(conn);
    }

    fn cut(&mut self, conn: Conn) {
        self.sockets.borrow_mut().cut(conn);
    }
}
