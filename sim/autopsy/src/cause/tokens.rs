//! A token that was taken and ought not to be, one that was refused and counts, and a connection that lasted longer than its token.

use crate::case::Case;
use crate::story::{at, lasted};
use squall_history::{Entity, Kind};

const SECOND: i64 = 1_000_000;

pub fn cause(case: &Case<'_>) -> Option<String> {
    let device = case.subject.device?;
    let own = || {
        case.story.events.iter().filter(|event| event.at == Entity::Device(device) && event.t <= case.subject.t)
    };
    if let Some((t, gateway, flaw, expires_s, asked)) = own().rev().find_map(|event| match &event.kind {
        Kind::TokenTaken { gateway, flaw, expires_s, asked, .. } if event.t == case.subject.t => {
            Some((event.t, *gateway, *flaw, *expires_s, *asked))
        }
        _ => None,
    }) {
        return Some(taken(case, t, gateway, flaw, expires_s, asked));
    }
    if let Some((t, gateway, expires_s)) = own().rev().find_map(|event| match &event.kind {
        Kind::TokenRefused { gateway, expires_s } => Some((event.t, *gateway, *expires_s)),
        _ => None,
    }) && case.subject.t.saturating_sub(t) < 60_000_000
    {
        let newer = own().rev().find_map(|event| match &event.kind {
            Kind::Refreshed { expires_s: until } if event.t <= t && *until > expires_s => Some((event.t, *until)),
            _ => None,
        });
        // What it had shown before the token in question.
        let earlier = own().rev().filter(|event| event.t <= t).find_map(|event| match &event.kind {
            Kind::Connect { expires_s: until, .. } | Kind::Refreshed { expires_s: until }
                if *until < expires_s =>
            {
                Some(*until)
            }
            _ => None,
        });
        let shown = own().rev().find_map(|event| match &event.kind {
            Kind::Refreshed { expires_s: until } if event.t <= t && *until == expires_s => Some(event.t),
            _ => None,
        });
        if let Some((earlier, shown)) = earlier.zip(shown) {
            return Some(format!(
                "gateway-{gateway} had taken at {} the newer token of device {device}, which expires at {expires_s} s, and closed its connection at {} as if it ended with the one before, which expired at {earlier} s{}: the newer one did not move when it ends",
                at(shown),
                at(t),
                clock(case, gateway, t)
            ));
        }
        let connected = case.story.connected(device, t.saturating_sub(1_000));
        let since = connected.map_or(String::new(), |c| format!(", connected since {}", at(c.from)));
        return Some(match newer {
            Some((taken, until)) => format!(
                "gateway-{gateway} had taken a newer token of device {device}{since}, at {}, which expires at {until} s, and closed the connection at {} as if the one before, which expired at {expires_s} s, were its last: the newer one did not move when it ends",
                at(taken),
                at(t)
            ),
            None => format!(
                "gateway-{gateway} refused device {device}{since} at {} for its token, which expires at {expires_s} s{}",
                at(t),
                clock(case, gateway, t)
            ),
        });
    }
    served(case)
}

/// How wrong a gateway's clock is, as a clause.
fn clock(case: &Case<'_>, gateway: u16, t: u64) -> String {
    match ahead(case, gateway, t) {
        Some((set, us)) if us.abs() >= SECOND => {
            let by = lasted(us.unsigned_abs());
            let way = if us > 0 { "ahead" } else { "behind" };
            format!(", by a clock that was set at {} and is {by} {way}", at(set))
        }
        _ => String::new(),
    }
}

/// When the clock of a gateway was last told, and by how much it is ahead.
fn ahead(case: &Case<'_>, gateway: u16, t: u64) -> Option<(u64, i64)> {
    let index = case.story.index_of(&format!("gateway-{gateway}"))?;
    case.story.events.iter().rev().find_map(|event| match event.kind {
        Kind::Clock { ahead_us } if event.at == Entity::Host(index) && event.t <= t => Some((event.t, ahead_us)),
        _ => None,
    })
}

fn taken(case: &Case<'_>, t: u64, gateway: u16, flaw: &str, expires_s: i64, asked: u64) -> String {
    let shown = format!("gateway-{gateway} took at {} the token", at(t));
    match flaw {
        "outstayed" => outstayed(case, gateway, expires_s, t),
        "expired" => format!(
            "{shown} that was shown to it at {}, though that had expired {} before{}: it looked at its signature and not at when it expires",
            at(asked),
            lasted((asked as i64 - expires_s * SECOND).unsigned_abs()),
            clock(case, gateway, asked)
        ),
        "not valid yet" => format!("{shown} that was shown to it at {}, which does not count yet", at(asked)),
        "another's" => format!(
            "{shown} that somebody showed it at {} over an open connection as a newer one, which is another device's: it asked whether the token counts, and not whose it is",
            at(asked)
        ),
        "of another algorithm" => format!(
            "{shown} that was shown to it at {}, which names another algorithm than the key has under which it is to be checked: it was checked by the algorithm of its own header",
            at(asked)
        ),
        "under an unknown key" => {
            format!(
                "{shown} that was shown to it at {}, which is signed under a key that it does not have",
                at(asked)
            )
        }
        flaw => format!(
            "{shown} that was shown to it at {}, which is {flaw}: its signature was not checked",
            at(asked)
        ),
    }
}

/// A gateway that goes on serving whoever has no token that counts.
fn outstayed(case: &Case<'_>, gateway: u16, expires_s: i64, t: u64) -> String {
    let expires = (expires_s * SECOND).max(0) as u64;
    let began = format!(
        "gateway-{gateway} still answered at {} over a connection whose token expired at {expires_s} s",
        at(t)
    );
    let closed = closed_for_expiry(case);
    if closed == 0 {
        return format!(
            "{began}{}: it asked for a token when it let them in and has not looked at it since, nor when its clock was set; nobody who was connected has been closed for an expired token in all this run",
            clock(case, gateway, t)
        );
    }
    match ahead(case, gateway, t) {
        Some((set, us)) if us >= SECOND => {
            let by_its_clock = expires.saturating_sub(us.unsigned_abs()).max(set);
            format!(
                "{began}: its clock was set {} ahead at {}, by which the token counts no more since {}, and it did not notice that for those who were connected: it goes by how long the token was to last when it was shown, and has closed others so ({closed} in this run)",
                lasted(us.unsigned_abs()),
                at(set),
                at(by_its_clock)
            )
        }
        _ => format!(
            "{began}, {} before: it asked for a token when it let them in, and closes nobody whose token has expired",
            lasted(t.saturating_sub(expires))
        ),
    }
}

/// How many devices that had been connected for a while were closed because their token had expired.
fn closed_for_expiry(case: &Case<'_>) -> usize {
    let devices = case.story.events.iter().filter_map(|event| match (&event.kind, event.at) {
        (Kind::Disconnect { reason: "closed for an expired token" }, Entity::Device(device)) => Some(device),
        _ => None,
    });
    let devices: std::collections::BTreeSet<_> = devices.collect();
    let connections = devices.into_iter().flat_map(|device| case.story.connections(device));
    connections.filter(|c| c.reason == "closed for an expired token").count()
}

/// An honest device that was served too long.
fn served(case: &Case<'_>) -> Option<String> {
    let device = case.subject.device?;
    let connection = case.story.connected(device, case.subject.t)?;
    let expires = case.story.events.iter().rev().find_map(|event| match &event.kind {
        Kind::Connect { expires_s, .. } | Kind::Refreshed { expires_s }
            if event.at == Entity::Device(device) && event.t <= case.subject.t =>
        {
            Some(*expires_s)
        }
        _ => None,
    })?;
    Some(outstayed(case, connection.gateway, expires, case.subject.t))
}
