/// Tests that break something in one way, and how large they are.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) tests: &'static [Tests],
    /// Variables of the usual size, and of the full one.
    pub(super) usual: &'static [(&'static str, &'static str)],
    pub(super) full: &'static [(&'static str, &'static str)],
}

/// Tests of one program: those whose names contain one of these.
pub(super) struct Tests {
    pub(super) package: &'static str,
    pub(super) program: &'static str,
    pub(super) names: &'static [&'static str],
}

const fn tests(package: &'static str, program: &'static str, names: &'static [&'static str]) -> Tests {
    Tests { package, program, names }
}

const FULL: &[(&str, &str)] = &[("WORK_FAULTS", "full")];

/// In the order they run: the short ones first.
pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "leases",
        about: "processes that block and freeze",
        tests: &[tests("work-tests", "crash_leases", &["blocks_its_thread", "was_frozen"])],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "aborts",
        about: "handlers that take their process down",
        tests: &[tests("work-tests", "crash_abort", &["takes_its_process_down"])],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "disk",
        about: "disks that are full or damaged, files that are locked",
        tests: &[tests("work-sqlite", "faults", &["disk", "lock", "damaged"]), tests("work-sqlite", "bad_disk", &[])],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "migration",
        about: "migrations that are killed",
        tests: &[
            tests("work-sqlite", "faults", &["a_migration_that_is_killed"]),
            tests("work-postgres", "interrupted", &["a_migration_that_is_killed"]),
        ],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "interrupted",
        about: "calls that are dropped at each poll, large batches whose process is killed",
        tests: &[
            tests("work-sqlite", "interrupted", &["dropped_at_any_poll", "a_large_batch"]),
            tests("work-postgres", "interrupted", &["dropped_at_any_poll", "a_large_batch"]),
        ],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "cut-off",
        about: "workers whose leases cannot be extended",
        tests: &[tests("work-core", "lost_leases", &[]), tests("work-postgres", "bad_network", &["who_is_cut_off"])],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "swallowed",
        about: "inserts whose answers are swallowed",
        tests: &[tests("work-postgres", "bad_network", &["answer_was_swallowed"])],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "cuts",
        about: "connections that are cut, or lost in one direction",
        tests: &[tests("work-postgres", "outages", &["cut_again_and_again", "only_seem_to_live"])],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "deaths",
        about: "a server that dies",
        tests: &[tests("work-postgres", "outages", &["a_server_that_dies"])],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "stall",
        about: "a network that stalls",
        tests: &[tests("work-postgres", "outages", &["a_network_that_stalls"])],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "ledgers",
        about: "effects in the transaction of the job, and rows of an outbox, while processes are killed",
        tests: &[
            tests("work-sqlite", "complete_in", &["killed_again_and_again"]),
            tests("work-sqlite", "outbox", &["killed_again_and_again"]),
            tests("work-postgres", "outbox", &["killed_again_and_again"]),
        ],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "power",
        about: "the power of the disk is cut",
        tests: &[tests("work-tests", "crash_power", &[])],
        usual: &[],
        full: FULL,
    },
    Group {
        name: "stops",
        about: "processes that are stopped",
        tests: &[tests("work-tests", "crash_leases", &["a_process_that_stops"])],
        usual: &[("WORK_STOP_ROUNDS", "8")],
        full: &[("WORK_STOP_ROUNDS", "200")],
    },
    Group {
        name: "groups",
        about: "groups of jobs whose processes are killed at random moments",
        tests: &[tests("work-tests", "crash_fleet", &["of_groups"])],
        usual: &[("WORK_CRASH_GROUPS", "60"), ("WORK_CRASH_MEMBERS", "20"), ("WORK_CRASH_KILLS", "20")],
        full: &[("WORK_CRASH_GROUPS", "1000"), ("WORK_CRASH_MEMBERS", "100"), ("WORK_CRASH_KILLS", "200")],
    },
    Group {
        name: "limits",
        about: "queues with limits and rates whose processes are killed at random moments",
        tests: &[tests("work-tests", "crash_fleet", &["limits_and_rates"])],
        usual: &[("WORK_CRASH_LIMITED", "400"), ("WORK_CRASH_KILLS", "24")],
        full: &[("WORK_CRASH_LIMITED", "4000"), ("WORK_CRASH_KILLS", "300")],
    },
    Group {
        name: "fleet-postgres",
        about: "worker processes that are killed at random moments, on Postgres",
        tests: &[tests("work-tests", "crash_fleet", &["every_promise_on_postgres"])],
        usual: &[("WORK_CRASH_JOBS", "8000"), ("WORK_CRASH_KILLS", "60")],
        full: &[("WORK_CRASH_JOBS", "300000"), ("WORK_CRASH_KILLS", "500")],
    },
    Group {
        name: "fleet-sqlite",
        about: "worker processes that are killed at random moments, on SQLite",
        tests: &[tests("work-tests", "crash_fleet", &["every_promise_on_sqlite"])],
        usual: &[("WORK_CRASH_JOBS", "8000"), ("WORK_CRASH_KILLS", "60")],
        full: &[("WORK_CRASH_JOBS", "1000000"), ("WORK_CRASH_KILLS", "1000")],
    },
];
