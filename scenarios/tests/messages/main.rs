//! What a person reads when a scenario file is wrong, class by class, to the letter.

mod faults;
mod people;

use squall_scenarios::{FaultKind, Problem, parse};
use std::path::Path;

fn problems(source: &str) -> Vec<Problem> {
    parse(source, Path::new("s.toml")).err().unwrap_or_default()
}

/// The first line of each problem's message.
fn headlines(source: &str) -> Vec<String> {
    problems(source).iter().map(|problem| problem.to_string().lines().next().unwrap_or("").to_owned()).collect()
}

fn assert_each_says(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(headlines(source), [format!("s.toml:{}", with_kinds(expected))], "{source}");
    }
}

/// `KINDS` in an expectation stands for all kinds of faults.
fn with_kinds(expected: &str) -> String {
    expected.replace("KINDS", &FaultKind::NAMES.join(", "))
}

fn fault(lines: &str) -> String {
    format!("[[faults]]\n{lines}")
}

fn assert_each_fault_says(cases: &[(&str, &str)]) {
    for (lines, expected) in cases {
        assert_eq!(headlines(&fault(lines)), [format!("s.toml:{expected}")], "{lines}");
    }
}

#[test]
fn a_problem_shows_its_line_with_a_caret_under_the_culprit() {
    for (source, expected) in [
        (
            "[topology]\n  gatways = 3 # more\n",
            "s.toml:2:3: unknown key \"gatways\" in [topology]; did you mean \"gateways\"?\n\
             2 |   gatways = 3 # more\n  |   ^^^^^^^",
        ),
        (
            "# ü\r\n[[faults]]\r\nname = \"ü\"\r\n\tkind\t= \"ü\"\r\nat = \"1s\"\r\n",
            "s.toml:4:9: kind is \"ü\", but one of KINDS is expected; write one of those\n\
             4 | \tkind\t= \"ü\"\n  | \t    \t  ^^^",
        ),
        (
            "description = '''\nlong''' \n[network]\nlast_mile = '''\nwifi'''",
            "s.toml:4:13: last_mile is the text \"\\nwifi\", but a table of shares by profile is expected; \
             write e.g. last_mile = { wifi = 0.7, lte = 0.3 }\n4 | last_mile = '''\n  |             ^^^",
        ),
    ] {
        let source = source.replace("\"\\nwifi\"", "\"wifi\"");
        let expected = with_kinds(&expected.replace("\"\\nwifi\"", "\"wifi\""));
        let all: Vec<String> = problems(&source).iter().map(Problem::to_string).collect();
        assert_eq!(all, [expected], "{source}");
    }
}

#[test]
fn an_unknown_key_names_the_near_one_or_where_it_belongs_or_all() {
    assert_each_says(&[
        ("[topolgy]\n", "1:2: unknown key \"topolgy\" at the top level; did you mean \"topology\"?"),
        ("[population]\nusrs = 5", "2:1: unknown key \"usrs\" in [population]; did you mean \"users\"?"),
        (
            "[workload]\nsend-interval = \"1s\"",
            "2:1: unknown key \"send-interval\" in [workload]; did you mean \"send_interval\"?",
        ),
        ("users = 5", "1:1: unknown key \"users\" at the top level; it belongs in [population]"),
        (
            "[phases]\nduration = \"1m\"",
            "2:1: unknown key \"duration\" in [phases]; the keys there are ramp, load, liveness_bound",
        ),
        (
            "[network.last_mile]\nwify = 1.0\nlte = 1",
            "2:1: unknown key \"wify\" in last_mile; did you mean \"wifi\"?",
        ),
        (
            "[[faults]]\nkind = \"disconnect\"\nat = \"1s\"\nshare = 0.5\ntarget = [\"gateway-0\"]",
            "5:1: unknown key \"target\" in [[faults]] of kind \"disconnect\"; the keys there are name, kind, at, within, for, every, share",
        ),
        (
            "[[checks.service_levels]]\nmeasure = \"reconnect\"\npercentile = 99\nat_most = \"1s\"\nmin = 1",
            "5:1: unknown key \"min\" in [[checks.service_levels]]; the keys there are measure, percentile, at_most",
        ),
        (
            "[checks]\nloss = 1",
            "2:1: unknown key \"loss\" in [checks]; the keys there are service_levels, bystanders",
        ),
    ]);
}

#[test]
fn a_value_of_the_wrong_type_says_which_is_expected() {
    assert_each_says(&[
        ("name = 5", "1:8: name is the number 5, but text is expected; write it in quotes, e.g. name = \"…\""),
        (
            "seed = -1",
            "1:8: seed is the number -1, but a whole number within 0..=18446744073709551615 is expected; write e.g. seed = 2",
        ),
        (
            "[population]\nusers = \"20\"",
            "2:9: users is the text \"20\", but a whole number is expected; write users = 20, without quotes",
        ),
        (
            "[population]\nusers = \"many\"",
            "2:9: users is the text \"many\", but a whole number is expected; write e.g. users = 2",
        ),
        (
            "[population]\nusers = 2.5",
            "2:9: users is the number 2.5, but a whole number is expected; write e.g. users = 2",
        ),
        (
            "[population]\nusers = 5_000_000_000",
            "2:9: users is the number 5000000000, but a whole number within 0..=4294967295 is expected; write e.g. users = 2",
        ),
        (
            "[population]\naway_share = true",
            "2:14: away_share is true, but a number is expected; write e.g. away_share = 0.5",
        ),
        (
            "[population]\naway_share = nan",
            "2:14: away_share is the number nan, but a number is expected; write e.g. away_share = 0.5",
        ),
        ("topology = 3", "1:12: topology is the number 3, but a table is expected; begin it with [topology]"),
        ("[[topology]]", "1:1: topology is a list, but a table is expected; begin it with [topology]"),
        (
            "[faults]\nkind = \"crash\"",
            "1:1: faults is a table, but a list of tables is expected; begin each with [[faults]]",
        ),
        ("faults = [5]", "1:11: faults[0] is the number 5, but a table is expected; begin it with [[faults]]"),
        (
            "[workload]\ncodec = 1",
            "2:9: codec is the number 1, but one of json, protobuf, mixed is expected; write one of those in quotes, e.g. codec = \"json\"",
        ),
    ]);
    assert_each_fault_says(&[
        (
            "kind = \"crash\"\nat = \"1s\"\ntarget = \"gateway-0\"",
            "4:10: target is the text \"gateway-0\", but a list of texts is expected; write target = [\"gateway-0\"]",
        ),
        (
            "kind = \"crash\"\nat = \"1s\"\ntarget = [0]",
            "4:11: target[0] is the number 0, but text is expected; write it in quotes, e.g. target[0] = \"…\"",
        ),
    ]);
}

#[test]
fn a_wrong_word_names_the_near_one_or_else_all() {
    assert_each_says(&[
        ("[workload]\ncodec = \"jsn\"", "2:9: codec is \"jsn\"; did you mean \"json\"?"),
        (
            "[workload]\ncodec = \"xml\"",
            "2:9: codec is \"xml\", but one of json, protobuf, mixed is expected; write one of those",
        ),
        (
            "[[faults]]\nkind = \"power_los\"\nat = \"1s\"\nnobody = 1",
            "2:8: kind is \"power_los\"; did you mean \"power-loss\"?",
        ),
    ]);
}

#[test]
fn a_duration_without_a_unit_says_so() {
    assert_each_says(&[
        ("tick = 1", "1:8: tick is 1, but a duration needs a unit (us, ms, s, m, h, d); write e.g. tick = \"1s\""),
        (
            "tick = \"1\"",
            "1:8: tick is \"1\", but a duration needs a unit (us, ms, s, m, h, d); write e.g. \"1s\"",
        ),
        (
            "tick = 0.5",
            "1:8: tick is 0.5, but a duration needs a unit (us, ms, s, m, h, d); write e.g. tick = \"0.5s\"",
        ),
        (
            "tick = \"1 msec\"",
            "1:8: tick is \"1 msec\", but \" msec\" is not a unit of time (us, ms, s, m, h, d); write \"1ms\"",
        ),
        (
            "tick = \"soon\"",
            "1:8: tick is \"soon\", but a duration is one number and one unit (us, ms, s, m, h, d); write e.g. \"250ms\", \"1.5s\" or \"2m\"",
        ),
        (
            "tick = []",
            "1:8: tick is a list, but a duration (us, ms, s, m, h, d) is expected; write e.g. tick = \"2s\"",
        ),
        (
            "tick = -5",
            "1:8: tick is the number -5, but a duration (us, ms, s, m, h, d) is expected; write e.g. tick = \"2s\"",
        ),
    ]);
}

#[test]
fn wrong_syntax_says_what_to_write() {
    assert_each_says(&[
        (
            "tick = 2ms",
            "1:8: string values must be quoted, expected literal string; a duration is text: write \"2ms\"",
        ),
        (
            "name = smoke # x",
            "1:8: string values must be quoted, expected literal string; text stands in quotes: write \"smoke\"",
        ),
        (
            "[topology\ngateways = 2",
            "1:10: unclosed table, expected `]`; write this line as TOML, e.g. key = \"text\", key = 2, key = [\"a\", \"b\"], or [table]",
        ),
        (
            "seed = 1\nseed = 2",
            "2:1: duplicate key; write this line as TOML, e.g. key = \"text\", key = 2, key = [\"a\", \"b\"], or [table]",
        ),
    ]);
}

#[test]
fn a_missing_key_is_named_with_an_example() {
    assert_each_fault_says(&[
        ("kind = \"disconnect\"\nshare = 0.5", "1:1: there is no \"at\" in [[faults]]; add e.g. at = \"5s\""),
        ("at = \"1s\"\nshare = 0.5", "1:1: there is no \"kind\" in [[faults]]; add e.g. kind = \"crash\""),
        (
            "kind = \"hold\"\nat = \"1s\"\nbetween = [\"bus-0\"]",
            "1:1: there is no \"and\" in [[faults]] of kind \"hold\"; add e.g. and = [\"messages-0\"]",
        ),
    ]);
}

#[test]
fn values_out_of_bounds_name_the_bounds() {
    assert_each_says(&[
        (
            "tick = \"1s\"",
            "1:8: tick is \"1s\", but must be within \"100us\" and \"100ms\"; write e.g. tick = \"100ms\"",
        ),
        ("[topology]\ngateways = 0", "2:12: gateways is 0, but must be within 1 and 200; write e.g. gateways = 1"),
        (
            "[topology]\nmessages = 65",
            "2:12: messages is 65, but must be within 1 and 64; write e.g. messages = 64",
        ),
        ("[population]\nusers = 1", "2:9: users is 1, but must be within 2 and 10000000; write e.g. users = 2"),
        (
            "[population]\ndevices_per_user = 6",
            "2:20: devices_per_user is 6, but must be within 1 and 5; write e.g. devices_per_user = 5",
        ),
        (
            "[workload]\ndirect_share = 1.5",
            "2:16: direct_share is 1.5, but must be within 0 and 1; write e.g. direct_share = 1",
        ),
        (
            "[network]\nlast_mile = { lte = -1 }",
            "2:13: last_mile has a share of -1, but a share is 0 or more; leave that profile out",
        ),
        (
            "[network]\nlast_mile = {}",
            "2:13: last_mile gives no profile to any device; write e.g. last_mile = { wifi = 1.0 }",
        ),
        (
            "[phases]\nload = \"8d\"",
            "2:8: load is \"8d\", but must be within \"100ms\" and \"7d\"; write e.g. load = \"7d\"",
        ),
    ]);
    assert_each_fault_says(&[(
        "kind = \"half-open\"\nat = \"1s\"\nshare = 0",
        "4:9: share is 0, but must be above 0 and at most 1; write e.g. share = 0.2",
    )]);
}

#[test]
fn a_population_must_add_up() {
    let groups = "[population]\nusers = 20\ngroups = 1\n";
    for (lines, expected) in [
        (
            "group_size_max = 30",
            "4:18: group_size_max is 30, but there are 20 users; write group_size_max = 20, or set users to 30 or more",
        ),
        (
            "group_size_min = 8\ngroup_size_max = 4",
            "4:18: group_size_min is 8, but group_size_max is 4; write group_size_min = 4, or less",
        ),
        (
            "group_size_min = 1",
            "4:18: group_size_min is 1, but must be within 2 and 250000; write e.g. group_size_min = 2",
        ),
        (
            "away_share = 0.5",
            "1:2: away_share is 0.5, but away_until is \"0s\": nobody would be away; write e.g. away_until = \"20s\"",
        ),
        (
            "away_share = 0.5\naway_until = \"1m\"",
            "5:14: away_until is \"1m\", but the load ends \"33s\" after the start of the run; write away_until = \"33s\", or less",
        ),
    ] {
        assert_each_says(&[(&format!("{groups}{lines}"), expected)]);
    }
    assert_each_says(&[(
        "[population]\ndirect_conversations_per_user = 0",
        "2:33: there are no conversations: neither direct ones nor groups; set groups or direct_conversations_per_user to 1 or more",
    )]);
}

#[test]
fn service_levels_must_be_possible() {
    let level = |percentile: &str, at_most: &str| {
        format!(
            "[[checks.service_levels]]\nmeasure = \"reconnect\"\npercentile = {percentile}\nat_most = \"{at_most}\""
        )
    };
    assert_each_says(&[
        (
            &level("0", "1s"),
            "3:14: percentile is 0, but must be within 50 and 100, as in 50, 99 or 99.9; 100 is the maximum; write e.g. percentile = 99",
        ),
        // A share is no percentile: the 0.99th would be judged, which is nearly the least.
        (
            &level("0.99", "1s"),
            "3:14: percentile is 0.99, but must be within 50 and 100, as in 50, 99 or 99.9; 100 is the maximum; write percentile = 99",
        ),
        (
            &level("0.999", "1s"),
            "3:14: percentile is 0.999, but must be within 50 and 100, as in 50, 99 or 99.9; 100 is the maximum; write percentile = 99.9",
        ),
        (
            &level("1.0", "1s"),
            "3:14: percentile is 1, but must be within 50 and 100, as in 50, 99 or 99.9; 100 is the maximum; write percentile = 100",
        ),
        (
            &level("49.9", "1s"),
            "3:14: percentile is 49.9, but must be within 50 and 100, as in 50, 99 or 99.9; 100 is the maximum; write e.g. percentile = 99",
        ),
        (
            &level("100.1", "1s"),
            "3:14: percentile is 100.1, but must be within 50 and 100, as in 50, 99 or 99.9; 100 is the maximum; write e.g. percentile = 99",
        ),
        (
            &level("99.9", "0s"),
            "4:11: at_most is \"0s\", which no latency can meet; write e.g. at_most = \"500ms\"",
        ),
    ]);
}

#[test]
fn several_problems_are_told_at_once_without_consequences() {
    let source = "[topology]\ngatways = 9\n[workload]\nsend_interval = 5\nbody_bytes = 0\n\
                  [[faults]]\nkind = \"crash\"\nat = \"1s\"\ntarget = [\"gateway-8\"]\n\
                  [[faults]]\nkind = \"half-open\"\nat = \"1s\"\nshare = 7\n";
    let lines: Vec<usize> = problems(source).iter().map(|problem| problem.line).collect();
    // Line 9 is no problem of its own: gateway-8 exists once line 2 is right.
    assert_eq!(lines, [2, 4, 5, 13]);
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    let problems = squall_scenarios::load(Path::new("no/such.toml")).expect_err("no such file");
    let message = problems.iter().map(Problem::to_string).collect::<String>();
    assert_eq!(
        message,
        "no/such.toml:1:1: cannot read this file: No such file or directory (os error 2); \
         give the path of a scenario file, e.g. scenarios/smoke.toml"
    );
}

#[test]
fn billions_of_hosts_are_refused_without_being_named() {
    let crash = "[[faults]]\nkind = \"crash\"\nat = \"1s\"\ntarget = [\"gateway-*\"]";
    assert_each_says(&[(
        &format!("[topology]\ngateways = 4_000_000_000\n{crash}"),
        "2:12: gateways is 4000000000, but must be within 1 and 200; write e.g. gateways = 200",
    )]);
}
