//! Holds a network namespace for the containers of a task, and does nothing else until it is
//! killed.

fn main() {
    loop {
        std::thread::park();
    }
}
