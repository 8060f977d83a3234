//! A process that is killed at each of its system calls.

fn main() {
    work_tests::script::work();
}
