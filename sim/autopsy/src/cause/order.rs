//! Messages of one device that stand in another order than they were sent in.

use super::content::number;
use super::sending::given_up;
use crate::case::Case;
use crate::log::Placed;
use crate::story::at;
use squall_history::Told;
use squall_protocol::DeviceId;

pub fn cause(case: &Case<'_>) -> Option<String> {
    let message = case.subject.message?;
    let device = number(case, message).map(|(device, _)| device).or_else(|| case.sender(message))?;
    let own: Vec<&Placed> = case.log.iter().filter(|placed| placed.author == Some(device)).collect();
    let sent = |placed: &Placed| case.sent(placed.message).map(|event| event.t);
    let pair = own.iter().flat_map(|first| own.iter().map(move |second| (first, second))).find(|(late, early)| {
        late.number < early.number && late.seq > early.seq && (late.message == message || early.message == message)
    });
    if let Some((late, early)) = pair {
        let copies = case.received(late.message, "messages-");
        let first = case.received(late.message, "gateway-").first().map(|event| event.t);
        let resend = case.resends(late.message).into_iter().rev().find(|(t, _)| Some(*t) <= late.staged);
        let lost = match (first, copies.first().map(|event| event.t)) {
            (_, Some(came)) if late.staged.is_some_and(|staged| came < staged) => {
                format!("its first copy of {} was not taken", at(came))
            }
            (Some(passed), _) => {
                format!("its first copy, passed on at {}, never came to {}", at(passed), case.shard_name())
            }
            (None, _) => "its first copy never came to a gateway".to_owned(),
        };
        let resent = resend.map_or(String::new(), |(t, cause)| {
            format!("; resent at {} ({})", at(t), case.resend_because(late.message, t, cause))
        });
        return Some(format!(
            "{} stored number {} of device {device} at {}, at seq {}, before number {} had come: {lost}{resent}, that one stands behind it at seq {}",
            case.shard_name(),
            early.number?,
            at(early.staged.or(early.committed)?),
            early.seq,
            late.number?,
            late.seq
        ));
    }
    // The device itself gave a later message the turn of an earlier one.
    let overtaken =
        own.iter().flat_map(|first| own.iter().map(move |second| (first, second))).find(|(late, early)| {
            sent(late) < sent(early)
                && late.seq > early.seq
                && (late.message == message || early.message == message)
        });
    overtaken.map(|(late, early)| {
        let stands = format!(
            "{} stands at seq {}, before {} at seq {}, which was sent earlier",
            case.short(early.message),
            early.seq,
            case.short(late.message),
            late.seq
        );
        let until = early.staged.or(early.committed).unwrap_or_else(|| case.story.end());
        let Some((wait, message)) = given_up(case, device, until) else {
            return format!("{}: {stands}", turn_taken(case, device, late, early));
        };
        format!(
            "told by {} at {} to wait for {} ms, device {device} gave up {}, which it has not sent again, and numbered what followed anew: {stands}",
            case.story.name(wait.by),
            at(wait.t),
            wait.ms,
            case.short(message)
        )
    })
}

/// The device numbered a later message before an earlier one, and what the earlier one had been told.
fn turn_taken(case: &Case<'_>, device: DeviceId, late: &Placed, early: &Placed) -> String {
    let numbered = early.number.map_or(String::new(), |number| format!(", number {number}"));
    let answered = case.answers(late.message).into_iter().find_map(|(event, told)| match told {
        Told::Refused { reason, .. } => Some(format!(
            ", which {} had answered at {} with a refusal ({reason})",
            case.story.name(event.at),
            at(event.t)
        )),
        _ => None,
    });
    format!(
        "device {device} gave the later one the turn of the earlier one{numbered}{}",
        answered.unwrap_or_default()
    )
}
