//! What is to be explained: a violation of a record.

use squall_autopsy::Subject;
use squall_history::Filter;
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, Seq, UserId};
use squall_reports::record::FirstViolation;
use squall_reports::{CheckRecord, RunRecord};

/// The violations of which a record knows more than the time, the first by simulated time first.
pub fn violations(record: &RunRecord) -> Vec<Subject> {
    let violated = record.checks.iter().filter_map(|check| Some((check, check.first.as_ref()?)));
    let mut found: Vec<Subject> = violated.filter_map(|(check, first)| subject(check, first)).collect();
    found.sort_by_key(|subject| subject.t);
    found
}

/// Checks whose violations are of no single device, and of which the history tells more all the same.
const TOLD_OF_CONNECTIONS: [&str; 1] = ["drains-gently"];

fn subject(check: &CheckRecord, first: &FirstViolation) -> Option<Subject> {
    // What is about no conversation is about a host, or about connections and who is online.
    let conversation = match first.conversation.as_str() {
        "" => 0,
        conversation => conversation.parse().ok()?,
    };
    let is_about_connections = TOLD_OF_CONNECTIONS.contains(&check.name.as_str());
    if conversation == 0 && first.level.is_none() && first.device.is_none() && !is_about_connections {
        return None;
    }
    Some(Subject {
        property: check.name.clone(),
        t: first.t,
        conversation: ConversationId(conversation),
        seq: first.seq.map(Seq),
        message: first.client_msg_id.as_deref().and_then(message),
        device: first.device.as_deref().and_then(|device| device.parse().ok()).map(DeviceId),
        user: first.user.as_deref().and_then(|user| user.parse().ok()).map(UserId),
        level: first.level.clone(),
    })
}

/// A message's id, as everything writes it.
pub fn message(text: &str) -> Option<ClientMsgId> {
    let digits = text.replace('-', "");
    let is_one = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_one.then(|| u128::from_str_radix(&digits, 16).ok().map(ClientMsgId)).flatten()
}

/// The same, of what a person wrote.
pub fn parse_message(text: &str) -> Result<ClientMsgId, String> {
    message(text).ok_or_else(|| {
        format!("{text:?} is no id of a message: 32 hexadecimal digits, as violations and histories write them")
    })
}

/// All that is needed to explain these.
pub fn filter(subjects: &[Subject]) -> Option<Filter> {
    let (first, rest) = subjects.split_first()?;
    let filter = rest.iter().fold(Filter::of_conversation(first.conversation), |filter, subject| {
        filter.and_conversation(subject.conversation)
    });
    let filter = subjects.iter().filter_map(|subject| subject.device).fold(filter, Filter::and_device);
    Some(subjects.iter().filter_map(|subject| subject.user).fold(filter, Filter::and_user))
}
