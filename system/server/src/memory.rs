//! Streams inside a process, behind the seams of [`super::net`]: roles that share one need no port for each other.
//!
//! **Invariant:** what is reached here is reached by nobody outside the process. Guarded by `server/tests/ports.rs`.

use crate::net::{BoxFuture, BoxStream, Connector, Listener};
use squall_protocol::limits;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

type Accepting = mpsc::Sender<BoxStream>;

/// The listeners of a process by name. Clones share it.
#[derive(Clone, Default)]
pub struct InProcess(Arc<Mutex<BTreeMap<String, Accepting>>>);

/// Where connections under one name arrive.
struct Arriving(mpsc::Receiver<BoxStream>);

impl InProcess {
    fn listeners(&self) -> MutexGuard<'_, BTreeMap<String, Accepting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens under a name; whoever did so before gets no more connections.
    pub fn listen(&self, name: String) -> Box<dyn Listener> {
        let (accepting, arriving) = mpsc::channel(limits::MAX_IN_PROCESS_BACKLOG);
        self.listeners().insert(name, accepting);
        Box::new(Arriving(arriving))
    }
}

impl Connector for InProcess {
    /// Refused, as by TCP, where nobody listens or too many connections wait.
    fn connect(&self, name: &str) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (near, far) = tokio::io::duplex(limits::IN_PROCESS_PIPE_BYTES);
        let accepting = self.listeners().get(name).cloned();
        let accepted = accepting.is_some_and(|accepting| accepting.try_send(Box::new(far)).is_ok());
        let stream: io::Result<BoxStream> =
            if accepted { Ok(Box::new(near)) } else { Err(io::ErrorKind::ConnectionRefused.into()) };
        Box::pin(async { stream })
    }
}

impl Listener for Arriving {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async { self.0.recv().await.ok_or_else(|| io::ErrorKind::ConnectionAborted.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_one_end_writes_the_other_one_reads_and_an_end_that_is_gone_is_told() {
        let process = InProcess::default();
        let mut listener = process.listen("bus-0".into());
        let mut near = process.connect("bus-0").await.unwrap();
        let mut far = listener.accept().await.unwrap();
        near.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
        drop(near);
        assert_eq!(far.read(&mut read).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn where_nobody_listens_a_connection_is_refused() {
        let process = InProcess::default();
        let refused = |result: io::Result<BoxStream>| result.err().map(|error| error.kind());
        assert_eq!(refused(process.connect("bus-0").await), Some(io::ErrorKind::ConnectionRefused));
        let listener = process.listen("bus-0".into());
        for _ in 0..limits::MAX_IN_PROCESS_BACKLOG {
            assert!(process.connect("bus-0").await.is_ok());
        }
        assert_eq!(refused(process.connect("bus-0").await), Some(io::ErrorKind::ConnectionRefused));
        drop(listener);
        assert_eq!(refused(process.connect("bus-0").await), Some(io::ErrorKind::ConnectionRefused));
    }
}
