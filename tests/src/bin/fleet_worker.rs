//! A worker process for tests that kill, freeze and stop such processes.

fn main() {
    work_tests::fleet::work();
}
