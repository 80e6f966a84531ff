//! Does nothing, for benchmarks of what is around a task.

fn main() {}
