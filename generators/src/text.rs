//! What people write: bodies of a length, of plain letters or of every script and plane of Unicode.
//!
//! **Invariant:** a body begins with its send time, so that every reader can tell its age, and has the length asked for in bytes
//! of UTF-8, unless that is too short for the time.

use crate::rng::Stream;
use squall_protocol::limits::MAX_BODY_JSON_BYTES;
use squall_scenarios::model::Text;
use std::fmt::Write;

/// Length of the send time that a body begins with, in hexadecimal microseconds.
const STAMP_BYTES: usize = 12;

const PLAIN: &str = " the quick brown fox jumps over the lazy dog";

/// What encodings, lengths and terminals stumble over, from every plane of Unicode that has characters.
const EVERY_SCRIPT: &[&str] = &[
    // Controls, and what JSON must escape: a body of NULs is six times as long there.
    "\0",
    "\0\0\0\0\0\0\0\0",
    "\u{1}\u{7}\u{8}\u{1b}[2J\u{7f}",
    "\r\n\t\u{b}\u{c}",
    "\"\\/\"",
    "{\"op\":\"send\"}",
    "'; --",
    "</script>",
    "%00%s%n",
    "\\u0000\\ud800",
    // Two, three and four bytes a character, and the edges between them.
    "\u{7f}\u{80}",
    "\u{7ff}\u{800}",
    "\u{ffff}\u{10000}",
    "\u{d7ff}\u{e000}",
    "\u{10ffff}",
    "\u{85}\u{a0}\u{ad}",
    "ßéñ",
    "Ωμέγα",
    "Ёжик",
    "Հայ",
    "한국어",
    "ไทย",
    "हिन्दी",
    "漢字かな",
    "ﬁ",
    // Marks that combine, join, change direction or say nothing.
    "e\u{301}\u{323}\u{332}",
    "o\u{308}\u{304}",
    "Z\u{35c}\u{321}\u{34d}",
    "\u{200d}\u{200c}\u{200b}",
    "א\u{202e}abc\u{202c}ב",
    "\u{2066}عربي\u{2069}",
    "\u{200f}\u{200e}",
    "\u{feff}\u{fffe}\u{fffd}",
    "\u{2028}\u{2029}",
    // The planes above: music, pictures that are joined, ideographs, tags, private use, the end.
    "𝄞𐍈𒀀",
    "👩\u{200d}👩\u{200d}👧\u{200d}👦",
    "🏳\u{fe0f}\u{200d}🌈",
    "🇪🇺",
    "𠀀𪜀",
    "\u{30000}",
    "\u{e0001}\u{e0067}\u{e007f}",
    "\u{e0100}",
    "\u{f0000}\u{ffffd}",
    "\u{100000}\u{10fffd}",
];

/// A body of this many bytes, sent at `now` µs.
pub(crate) fn body(text: Text, now: u64, bytes: u32, stream: &mut Stream) -> String {
    let len = bytes as usize;
    let mut body = String::with_capacity(len.max(STAMP_BYTES));
    let _ = write!(body, "{now:0width$x}", width = STAMP_BYTES);
    // A body of one thing alone, now and then.
    let only = stream.chance(0.2).then(|| stream.next_u64());
    // What JSON adds to it: nobody may send what is much longer there.
    let mut escapes = 0;
    while body.len() < len && text == Text::EveryScript {
        let next = only.unwrap_or_else(|| stream.next_u64());
        let piece = EVERY_SCRIPT[crate::rng::below(next, EVERY_SCRIPT.len() as u64) as usize];
        escapes += piece.bytes().map(escapes_of).sum::<usize>();
        if body.len() + piece.len() > len || len + escapes > MAX_BODY_JSON_BYTES {
            break;
        }
        body.push_str(piece);
    }
    while body.len() < len {
        body.push_str(&PLAIN[..(len - body.len()).min(PLAIN.len())]);
    }
    body
}

/// Bytes that JSON adds to one, at most.
fn escapes_of(byte: u8) -> usize {
    match byte {
        0..=31 => 5,
        b'"' | b'\\' => 1,
        _ => 0,
    }
}

/// The send time that a body begins with, in µs of the run; `None` when it is not one of ours.
pub fn sent_at(body: &str) -> Option<u64> {
    body.get(..STAMP_BYTES).and_then(|stamp| u64::from_str_radix(stamp, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_body_has_the_length_asked_for_and_tells_its_send_time() {
        for text in [Text::Plain, Text::EveryScript] {
            for bytes in [12, 13, 50, 200, 16_384] {
                let body = body(text, 0x1234, bytes, &mut Stream::new(bytes.into(), "body"));
                assert_eq!((body.len(), sent_at(&body)), (bytes as usize, Some(0x1234)));
            }
        }
        assert_eq!(sent_at("short"), None);
        assert_eq!(sent_at("漢字漢字漢字"), None, "12 bytes that are no number");
    }

    #[test]
    fn bodies_of_every_script_have_characters_of_every_length_and_plane() {
        let mut stream = Stream::new(3, "bodies");
        let text: String = (0..200).map(|_| body(Text::EveryScript, 7, 200, &mut stream)).collect();
        let lengths: BTreeSet<usize> = text.chars().map(char::len_utf8).collect();
        let planes: BTreeSet<u32> = text.chars().map(|c| c as u32 >> 16).collect();
        assert_eq!(lengths, BTreeSet::from([1, 2, 3, 4]));
        assert_eq!(planes, BTreeSet::from([0, 1, 2, 3, 14, 15, 16]));
        assert!(text.contains('\0') && text.contains('"') && text.contains('\u{202e}'));
        let plain = body(Text::Plain, 7, 200, &mut stream);
        assert!(plain.is_ascii());
    }
}
