//! What is said of wrong mixtures, popularity, giants and crowds.

use super::assert_each_says;

#[test]
fn a_wrong_mixture_names_the_part() {
    assert_each_says(&[
        (
            "[population]\ndevices_per_user = [{ share = 0.5, devices = 9 }]",
            "2:46: devices is 9, but must be within 1 and 5; write e.g. devices = 5",
        ),
        (
            "[population]\ndevices_per_user = [3]",
            "2:21: devices_per_user[0] is the number 3, but a table is expected; write e.g. { share = 0.7, devices = 1 }",
        ),
        (
            "[population]\ndevices_per_user = [{ share = 0.5 }]",
            "2:21: there is no \"devices\" in devices_per_user[0]; add e.g. devices = 1",
        ),
        (
            "[workload]\nbody_bytes = []",
            "2:14: body_bytes has no part with a share above 0; give a part a share, e.g. share = 1.0",
        ),
        (
            "[workload]\nbody_bytes = [{ share = 1, bytes = 20, up_to = 10 }]",
            "2:48: up_to is 10, but must be within 20 and 16384; write e.g. up_to = 20",
        ),
        (
            "[workload]\nsession_length = [{ share = 1, mean = \"5m\", to = \"9m\" }]",
            "2:19: a length has either a mean, or from and to; write e.g. { share = 1.0, mean = \"5m\" } or { share = 1.0, from = \"1m\", to = \"9m\" }",
        ),
        (
            "[population]\ndirect_lifecycle = { one-shot = -1 }",
            "2:20: direct_lifecycle has a share of -1, but a share is 0 or more; leave that part out",
        ),
        (
            "[population]\ndirect_lifecycle = { one-shots = 1 }",
            "2:22: unknown key \"one-shots\" in direct_lifecycle; did you mean \"one-shot\"?",
        ),
    ]);
}

#[test]
fn popularity_needs_a_kind_and_what_goes_with_it() {
    assert_each_says(&[
        (
            "[workload]\ngroup_popularity = \"zipf\"",
            "2:20: group_popularity is \"zipf\", but \"uniform\" or a table is expected; write e.g. group_popularity = { kind = \"zipf\", exponent = 1.0 }",
        ),
        (
            "[workload]\ngroup_popularity = { kind = \"zip\", exponent = 1.0 }",
            "2:29: kind is \"zip\"; did you mean \"zipf\"?",
        ),
        (
            "[workload]\npartner_popularity = { kind = \"hot-set\", share = 0.1 }",
            "2:22: there is no \"traffic\" in partner_popularity of kind \"hot-set\"; add e.g. traffic = 0.8",
        ),
        (
            "[workload]\npartner_popularity = { kind = \"hot-set\", share = 0.1, traffic = 2 }",
            "2:65: traffic is 2, but must be within 0 and 1; write e.g. traffic = 1",
        ),
    ]);
}

#[test]
fn giants_and_crowds_must_fit_the_population_and_the_load() {
    assert_each_says(&[
        (
            "[[population.giants]]\nname = \"hall\"\nmembers = 30",
            "3:11: members is 30, but there are 20 users; write members = 20, or set users to 30 or more",
        ),
        (
            "[[population.giants]]\nname = \"hall\"\nmembers = 3\n[[population.giants]]\nname = \"hall\"\nmembers = 4",
            "5:8: two giants are named \"hall\", or one has no name; give each a name of its own",
        ),
        (
            "[[workload.flash_crowds]]\nat = \"1s\"\nfor = \"5s\"\ntimes = 3\nto = \"hall\"",
            "5:6: to is \"hall\", but there are no giants; add [[population.giants]] with name = \"hall\", or leave this key out",
        ),
        (
            "[[workload.flash_crowds]]\nat = \"30s\"\nfor = \"5s\"\ntimes = 3",
            "2:6: at is \"30s\", but the load is over after \"30s\"; let it begin earlier",
        ),
        (
            "[workload]\narrival = \"bursts\"\nsend_interval = \"1s\"",
            "1:2: burst_gap is \"1s\", but the mean between all messages is \"1s\": that is no burst; shorten burst_gap, or lengthen send_interval",
        ),
        (
            "[workload]\nday_curve = [1, -2]",
            "2:13: day_curve has a part of -2, but nobody writes less than nothing; write 0 for a part in which nobody writes",
        ),
    ]);
}
