//! Where the other hosts of the cluster are.

use squall_protocol::PerRole;

/// The internal addresses of every role's hosts, by their index; nobody calls a gateway. Fixed for a run: who owns a
/// conversation follows from it.
pub type Cluster = PerRole<Vec<String>>;
