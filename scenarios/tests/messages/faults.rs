//! What is said of a fault whose keys and types are right and whose meaning is not.

use super::{assert_each_fault_says, assert_each_says, headlines};

#[test]
fn a_target_must_exist_and_suit_the_fault() {
    let crash = |target: &str| format!("kind = \"crash\"\nat = \"1s\"\ntarget = [{target}]");
    let hosts = "but the hosts are gateway-0, gateway-1, messages-0, messages-1, registry-0, bus-0";
    let nobody = "but that names no host, no role and nothing to draw";
    for (target, expected) in [
        ("\"gateway-5\"", format!("11: target[0] is \"gateway-5\", {hosts}; write one of those, or set gateways = 6 in [topology]")),
        ("\"bus-0\", \"gatway-1\"", format!("20: target[1] is \"gatway-1\", {nobody}; did you mean \"gateway-1\"?")),
        ("\"gateways\"", format!("11: target[0] is \"gateways\", {nobody}; did you mean \"gateway-*\"?")),
        ("\"everything\"", format!("11: target[0] is \"everything\", {nobody}; write a host (\"gateway-0\"), all of a role (\"gateway-*\"; the roles are gateway, messages, registry, bus, presence), some of it (\"one of gateway-*\", \"30% of gateway-*\"), \"busiest-shard\", or \"clients\" for the devices")),
        (
            "\"clients\"",
            "11: target[0] is \"clients\", but only hosts can have a crash; for devices, use the kind \"disconnect\" or \"half-open\"".to_owned(),
        ),
        ("", "10: target is empty, but a fault needs somebody to hit; write e.g. target = [\"gateway-0\"]".to_owned()),
    ] {
        assert_each_fault_says(&[(&crash(target), &format!("4:{expected}"))]);
    }
    assert_each_fault_says(&[
        (
            "kind = \"partition\"\nat = \"1s\"\nbetween = [\"gateway-*\"]\nand = [\"bus-0\", \"gateway-1\"]",
            "5:7: gateway-1 is on both sides of this partition; leave it on one side",
        ),
        (
            "kind = \"partition-one-way\"\nat = \"1s\"\nfrom = [\"messages-0\"]\nto = [\"clients\"]",
            "5:6: clients have connections to gateways only, so this fault would hit nothing; set clients against e.g. \"gateway-*\"",
        ),
        (
            "kind = \"power-loss\"\nat = \"1s\"\ntarget = [\"messages-*\", \"bus-0\"]\npoint = \"acked\"",
            "5:9: only messages hosts pass this point, but the target includes bus-0; leave it out, or target e.g. \"messages-*\"",
        ),
        (
            "kind = \"latency\"\nat = \"1s\"\nbetween = [\"bus-0\"]\nand = [\"messages-*\"]\nadd = \"0s\"",
            "6:7: add is \"0s\" and jitter is \"0s\", but together they must be at least \"1ms\": less changes nothing; write e.g. add = \"200ms\"",
        ),
    ]);
}

#[test]
fn a_faults_times_must_fit() {
    let crash = "kind = \"crash\"\ntarget = [\"bus-0\"]";
    let instant = "kind = \"disconnect\"\nshare = 0.5";
    for (base, times, expected) in [
        (
            crash,
            "at = \"30s\"",
            "4:6: at is \"30s\", but the load phase ends at \"30s\"; choose an earlier time, or a longer load in [phases]",
        ),
        (
            crash,
            "at = \"1s\"\nfor = \"10us\"",
            "5:7: for is \"10us\", but must be at least one tick, \"1ms\"; write e.g. for = \"5s\"",
        ),
        (
            crash,
            "at = \"1s\"\nfor = \"5s\"\nevery = \"0s\"",
            "6:9: every is \"0s\", but must be at least one tick, \"1ms\"; write e.g. every = \"10s\"",
        ),
        (
            crash,
            "at = \"1s\"\nfor = \"5s\"\nevery = \"5s\"",
            "6:9: every is \"5s\", but the fault lasts \"5s\": it must end before it begins again; write a time longer than \"5s\", or a shorter \"for\"",
        ),
        (
            crash,
            "at = \"1s\"\nevery = \"5s\"",
            "5:9: without \"for\" this fault lasts until the load ends, so it cannot repeat; add e.g. for = \"5s\", or leave \"every\" out",
        ),
        (
            instant,
            "at = \"1s\"\nfor = \"5s\"",
            "5:7: a disconnect happens at one instant, so it has no \"for\"; leave it out; \"every\" repeats the fault",
        ),
        (
            instant,
            "at = \"1s\"\nevery = \"2ms\"",
            "5:9: every is \"2ms\", which is more than 10000 times in a load of \"30s\"; write a longer time",
        ),
    ] {
        assert_each_fault_says(&[(&format!("{base}\n{times}"), expected)]);
    }
}

#[test]
fn two_faults_cannot_share_a_name() {
    let one = "[[faults]]\nname = \"x\"\nkind = \"disconnect\"\nat = \"1s\"\nshare = 1\n";
    assert_each_says(&[(
        &format!("{one}{one}"),
        "7:8: name is \"x\", and so is another fault's; give each fault a name of its own, or none",
    )]);
}

#[test]
fn what_a_fault_cannot_hit_is_refused() {
    assert_each_fault_says(&[
        (
            "kind = \"pause\"\nat = \"1s\"\ntarget = [\"clients\"]",
            "4:11: target[0] is \"clients\", but only hosts can have a pause; for devices, use the kind \"disconnect\" or \"half-open\"",
        ),
        (
            "kind = \"slow-disk\"\nat = \"1s\"\ntarget = [\"gateway-0\"]\nadd = \"1s\"",
            "4:10: only messages hosts have a disk, but the target includes gateway-0; target e.g. \"messages-*\"",
        ),
        (
            "kind = \"clock\"\nat = \"1s\"\ntarget = [\"messages-0\"]",
            "1:1: this clock is neither ahead nor behind and does not drift; write e.g. ahead = \"2s\"",
        ),
        (
            "kind = \"clock\"\nat = \"1s\"\ntarget = [\"registry-0\"]\nahead = \"2s\"",
            "4:10: nothing that a registry does depends on its wall clock, but the target includes registry-0; target e.g. \"messages-*\" or \"gateway-*\"",
        ),
        (
            "kind = \"insiders\"\nat = \"1s\"\ncount = 25",
            "4:9: 25 of 20 users are insiders, but at least 2 must be left whom they could harm; write count = 18, or less, or set users in [population] to 27 or more",
        ),
        (
            "kind = \"slow-link\"\nat = \"1s\"\nbetween = [\"clients\"]\nand = [\"gateway-*\"]\nbytes_per_s = 0",
            "6:15: bytes_per_s is 0, which is a partition; write e.g. bytes_per_s = 20_000",
        ),
        (
            "kind = \"disk-errors\"\nat = \"1s\"\ntarget = [\"messages-0\"]\nshare = 0.1\noperation = \"synch\"",
            "6:13: operation is \"synch\"; did you mean \"sync\"?",
        ),
    ]);
}

#[test]
fn faults_that_are_drawn_or_compound_are_checked_too() {
    assert_each_fault_says(&[
        (
            "kind = \"rolling-restart\"\ntarget = [\"gateway-*\"]\nat = \"1s\"",
            "1:1: a rolling-restart needs \"for\": how long each process is down; write e.g. for = \"2s\"",
        ),
        (
            "kind = \"crash\"\ntarget = [\"one of gateway-*\"]\nat = \"1s\"\npoint = \"committed\"",
            "5:9: only messages hosts pass this point, but the target includes gateway-0; leave it out, or target e.g. \"messages-*\"",
        ),
        (
            "kind = \"crash\"\ntarget = [\"busiest-shard\"]\nat = \"1s\"\npoint = \"mid-commit\"",
            "5:9: a process that dies leaves its writes to the system, so there is no middle; use the kind \"power-loss\" or another point",
        ),
        (
            "kind = \"disconnect\"\nshare = 0.1\nat = \"10s\"\nwithin = \"25s\"",
            "5:10: it may begin \"35s\" after the load does, but the load phase ends at \"30s\"; choose an earlier time, a shorter \"within\" or a longer load",
        ),
        (
            "kind = \"disconnect\"\nshare = 0.1\nat = \"1s\"\nwithin = \"5s\"\nevery = \"5s\"",
            "5:10: within \"5s\" and what it lasts are not over when it repeats after \"5s\"; write a shorter \"within\", or a longer \"every\"",
        ),
        (
            "kind = \"delay-acks\"\nshare = 0.1\nat = \"1s\"\nby = \"0s\"",
            "5:6: by is \"0s\", but must be at least \"1ms\": less changes nothing; write e.g. by = \"2s\"",
        ),
        (
            "kind = \"liars\"\ncount = 0\nat = \"1s\"",
            "3:9: count is 0, but must be within 1 and 1000; write e.g. count = 1",
        ),
        (
            "kind = \"carrier-gone\"\ncarrier = \"3g\"\nat = \"1s\"",
            "3:11: no device of this scenario is on that last-mile profile; name one of those in last_mile, or leave carrier out to draw one",
        ),
        (
            "kind = \"hold\"\nbetween = [\"130% of gateway-*\"]\nand = [\"bus-0\"]\nat = \"1s\"",
            "3:12: between[0] is \"130% of gateway-*\", but a share of hosts is above 0% and at most 100%; write e.g. \"30% of gateway-*\"",
        ),
    ]);
}

#[test]
fn a_fault_that_would_change_nothing_is_refused() {
    let link = "at = \"1s\"\nbetween = [\"clients\"]\nand = [\"gateway-*\"]";
    let say = |kind: &str, keys: &str| format!("kind = \"{kind}\"\n{link}\n{keys}");
    assert_each_fault_says(&[
        (
            &say("latency", "add = \"1us\""),
            "6:7: add is \"1us\" and jitter is \"0s\", but together they must be at least \"1ms\": less changes nothing; write e.g. add = \"200ms\"",
        ),
        (
            &say("slow-link", "bytes_per_s = 9_000_000_000"),
            "6:15: bytes_per_s is 9000000000, but must be at most 10000000: more slows nothing down; write e.g. bytes_per_s = 20_000",
        ),
        (
            &say("flap", "down = \"10us\"\nup = \"1s\""),
            "6:8: down is \"10us\", but must be within \"1ms\" and \"1d\"; write e.g. down = \"1ms\"",
        ),
        (
            "kind = \"slow-disk\"\nat = \"1s\"\ntarget = [\"messages-0\"]\nadd = \"0s\"",
            "5:7: add is \"0s\", but must be at least \"1ms\": less changes nothing; write e.g. add = \"200ms\"",
        ),
        (
            "kind = \"profile-change\"\nat = \"1s\"\nshare = 1.0\nto = \"wifi\"",
            "5:6: every device of this scenario is on that last-mile profile already; name another one, or give devices others in last_mile",
        ),
        (
            "kind = \"clock\"\nat = \"1s\"\ntarget = [\"messages-0\"]\nahead = \"1us\"",
            "5:9: this clock is never wrong by \"1ms\", the least that anybody can read from it; write e.g. ahead = \"2s\"",
        ),
        (
            "kind = \"hold\"\nat = \"29.9999s\"\nbetween = [\"clients\"]\nand = [\"gateway-*\"]",
            "3:6: at is \"29999.9ms\", but the load phase ends at \"30s\": a fault lasts at least one tick, \"1ms\"; choose an earlier time, or a longer load in [phases]",
        ),
        (
            "name = \"\\u001b[2J\"\nkind = \"disconnect\"\nshare = 0.1\nat = \"1s\"",
            "2:8: name has a control character, '\\u{1b}'; write it without",
        ),
    ]);
    // A jitter alone is a change, and so is drift that adds up.
    for sound in [
        say("latency", "add = \"0s\"\njitter = \"1ms\""),
        "kind = \"clock\"\nat = \"1s\"\ntarget = [\"messages-0\"]\ndrift_ppm = 100.0".to_owned(),
    ] {
        assert_eq!(headlines(&format!("[[faults]]\n{sound}")), [""; 0]);
    }
}

#[test]
fn a_misspelt_draw_says_what_was_meant() {
    let nobody = "but that names no host, no role and nothing to draw";
    for (target, expected) in [
        ("one of gatway-*", format!("{nobody}; did you mean \"one of gateway-*\"?")),
        ("one off gateway-*", format!("{nobody}; did you mean \"one of gateway-*\"?")),
        ("30% gateway-*", format!("{nobody}; did you mean \"30% of gateway-*\"?")),
        ("busiest-shards", format!("{nobody}; did you mean \"busiest-shard\"?")),
        ("one of bus-0", "but hosts are drawn of all hosts of a role; write e.g. \"one of bus-*\"".to_owned()),
    ] {
        let pause = format!("kind = \"pause\"\nat = \"1s\"\ntarget = [\"{target}\"]");
        assert_each_fault_says(&[(&pause, &format!("4:11: target[0] is \"{target}\", {expected}"))]);
    }
    // A space before the sign is as good as none.
    assert_eq!(headlines("[[faults]]\nkind = \"pause\"\nat = \"1s\"\ntarget = [\"30 % of gateway-*\"]"), [""; 0]);
}
